#include "train/launcher.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <map>
#include <string>
#include <thread>

namespace beacon {
namespace {

// Says what a launcher would, until the end of the test.
class LauncherTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "PMI_SIZE",
                             "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE"}) {
      if (const char* value = std::getenv(name)) before_[name] = value;
      unsetenv(name);
    }
  }
  void TearDown() override {
    for (const auto& [name, value] : set_) unsetenv(name.c_str());
    for (const auto& [name, value] : before_) setenv(name.c_str(), value.c_str(), 1);
  }
  void say(const std::string& name, const std::string& value) {
    set_[name] = value;
    setenv(name.c_str(), value.c_str(), 1);
  }
  static int processors() {
    cpu_set_t bound;
    CPU_ZERO(&bound);
    EXPECT_EQ(sched_getaffinity(0, sizeof bound, &bound), 0);
    return CPU_COUNT(&bound);
  }

 private:
  std::map<std::string, std::string> before_, set_;
};

TEST_F(LauncherTest, CountsProcesses) {
  EXPECT_EQ(launched_ranks(), 1);
  EXPECT_EQ(launched_ranks_here(), 1);
  say("OMPI_COMM_WORLD_SIZE", "6");
  say("OMPI_COMM_WORLD_LOCAL_SIZE", "3");
  EXPECT_EQ(launched_ranks(), 6);
  EXPECT_EQ(launched_ranks_here(), 3);
}

TEST_F(LauncherTest, ReadsSlurmsListOfNodes) {
  say("SLURM_STEP_NUM_TASKS", "11");
  say("SLURM_STEP_TASKS_PER_NODE", "4(x2),3");
  EXPECT_EQ(launched_ranks(), 11);
  EXPECT_EQ(launched_ranks_here(), 4);
}

TEST_F(LauncherTest, ProcessesShareTheProcessors) {
  const int hardware = static_cast<int>(std::thread::hardware_concurrency());
  EXPECT_EQ(threads_of_a_rank(), std::min(hardware, processors()));
  say("OMPI_COMM_WORLD_LOCAL_SIZE", "2");
  EXPECT_EQ(threads_of_a_rank(), std::max(1, std::min(hardware / 2, processors())));
  say("OMPI_COMM_WORLD_LOCAL_SIZE", "1000");
  EXPECT_EQ(threads_of_a_rank(), 1);
}

// mpirun binds each process to processors of its own; more threads than those would wait for each other.
TEST_F(LauncherTest, NoMoreThreadsThanTheLauncherBindsAProcessTo) {
  cpu_set_t before, one;
  CPU_ZERO(&before);
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(threads_of_a_rank(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

}  // namespace
}  // namespace beacon
