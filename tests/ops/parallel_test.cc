#include "ops/parallel.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

namespace beacon::ops {
namespace {

class ParallelTest : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(2); }
  void TearDown() override { at::set_num_threads(before_); }

 private:
  int before_ = at::get_num_threads();
};

// Each piece waits for the other one, which on one thread would never come.
TEST_F(ParallelTest, PiecesRunAtTheSameTime) {
  std::atomic<int> arrived{0};
  std::atomic<bool> met{true};
  std::vector<int> index(2, -1);
  parallel_for(2, 1, [&](int64_t begin, int64_t end) {
    EXPECT_EQ(end, begin + 1);
    index[static_cast<size_t>(begin)] = thread_index();
    ++arrived;
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (arrived < 2 && met) {
      std::this_thread::yield();
      if (std::chrono::steady_clock::now() > patience) met = false;
    }
  });
  EXPECT_TRUE(met) << "one thread ran both pieces";
  EXPECT_EQ(index, (std::vector<int>{0, 1}));
}

TEST_F(ParallelTest, EveryNumberComesOnceInPiecesOfTheGrain) {
  for (const int64_t n : {0, 1, 2, 7, 100, 1001}) {
    for (const int64_t grain : {0, 1, 3, 64, 5000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
      std::atomic<int> pieces{0};
      parallel_for(n, grain, [&](int64_t begin, int64_t end) {
        ++pieces;
        for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      });
      for (const auto& count : seen) ASSERT_EQ(count, 1) << n << " " << grain;
      EXPECT_LE(pieces, std::max<int64_t>(1, n / std::max<int64_t>(1, grain) + 1));
      std::vector<std::atomic<int>> each(static_cast<size_t>(n));
      parallel_each(n, [&](int64_t i) { ++each[static_cast<size_t>(i)]; });
      for (const auto& count : each) ASSERT_EQ(count, 1);
    }
  }
}

TEST_F(ParallelTest, InsideAnotherRegionItRunsOnTheCallingThread) {
  parallel_for(2, 1, [&](int64_t, int64_t) {
    const auto outer = std::this_thread::get_id();
    parallel_for(10, 1, [&](int64_t begin, int64_t end) {
      EXPECT_EQ(std::this_thread::get_id(), outer);
      EXPECT_EQ(end - begin, 10);
    });
  });
}

TEST_F(ParallelTest, ExceptionsReachTheCaller) {
  for (const int64_t bad : {0, 1}) {
    EXPECT_THROW(parallel_for(2, 1,
                              [&](int64_t begin, int64_t) {
                                if (begin == bad) throw std::runtime_error("bad");
                              }),
                 std::runtime_error);
  }
}

}  // namespace
}  // namespace beacon::ops
