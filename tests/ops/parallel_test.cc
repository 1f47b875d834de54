#include "ops/parallel.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace beacon::ops {
namespace {

class ParallelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = num_threads();
    at::set_num_threads(3);
  }
  void TearDown() override { at::set_num_threads(before_); }

 private:
  int before_ = 1;
};

TEST_F(ParallelTest, EveryThreadTakesPart) {
  std::mutex mutex;
  std::set<std::thread::id> threads;
  std::set<int> indices;
  std::vector<int> visits(30);
  parallel_for(30, 1, [&](int64_t begin, int64_t end) {
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
    indices.insert(thread_index());
    for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
  });
  EXPECT_EQ(threads.size(), 3U);
  EXPECT_EQ(indices, (std::set<int>{0, 1, 2}));
  EXPECT_EQ(visits, std::vector<int>(30, 1));
}

TEST_F(ParallelTest, FewPiecesStayOnTheCaller) {
  const auto caller = std::this_thread::get_id();
  parallel_for(10, 10, [&](int64_t begin, int64_t end) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_EQ(end - begin, 10);
  });
  parallel_for(0, 1, [](int64_t, int64_t) { ADD_FAILURE() << "nothing to do"; });
}

TEST_F(ParallelTest, EachIsHandedOutOnce) {
  std::mutex mutex;
  std::vector<int> visits(50);
  parallel_each(50, [&](int64_t i) {
    const std::lock_guard lock(mutex);
    ++visits[static_cast<size_t>(i)];
  });
  EXPECT_EQ(visits, std::vector<int>(50, 1));
}

TEST_F(ParallelTest, ErrorsReachTheCaller) {
  const auto fail = [](int64_t begin, int64_t) {
    if (begin > 0) throw std::runtime_error("from a worker");
  };
  EXPECT_THROW(parallel_for(30, 1, fail), std::runtime_error);
}

}  // namespace
}  // namespace beacon::ops
