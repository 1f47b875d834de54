#include "train/communicator.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "train/launcher.h"

namespace beacon {
namespace {

class SingleProcess : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  bool in_any_thread() const override { return true; }
  void sum(std::span<float>) override {}
  void sum(std::span<double>) override {}
  void barrier() override {}
  void end_job() override {}
};

// The largest number that one of the variables begins with, at least 1.
int largest_of(std::initializer_list<const char*> names) {
  int largest = 1;
  for (const char* name : names) {
    if (const char* value = std::getenv(name)) largest = std::max(largest, std::atoi(value));
  }
  return largest;
}

}  // namespace

int launched_ranks() { return largest_of({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}); }

// Slurm's is a list of nodes, "4(x2),3": the first is as good as any.
int launched_ranks_here() {
  return largest_of({"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_TASKS_PER_NODE"});
}

int threads_of_a_rank() {
  int processors = static_cast<int>(std::thread::hardware_concurrency()) / launched_ranks_here();
  cpu_set_t bound;
  CPU_ZERO(&bound);
  if (sched_getaffinity(0, sizeof bound, &bound) == 0) processors = std::min(processors, CPU_COUNT(&bound));
  return std::max(1, processors);
}

std::unique_ptr<Communicator> single_process() { return std::make_unique<SingleProcess>(); }

}  // namespace beacon
