// NCCL itself needs a GPU (tests/cuda): here it is the pretended one, in host memory.
#include "train/nccl_sums.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <beacon/error.h>
#include <gtest/gtest.h>

#include <barrier>
#include <thread>

#include "train/gradient_sums.h"

namespace beacon {
namespace {

// Threads that stand for processes.
struct Shared {
  explicit Shared(int size) : size(size), here(size) {}
  int size;
  std::barrier<> here;
  std::mutex mutex;
  std::vector<double> sums;
};

class ThreadRank : public Communicator {
 public:
  ThreadRank(Shared& shared, int rank) : shared_(shared), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return shared_.size; }
  bool in_any_thread() const override { return true; }
  void sum(std::span<float>) override { FAIL() << "NCCL sums on the device"; }
  void sum(std::span<double> values) override {
    if (rank_ == 0) shared_.sums.assign(values.size(), 0.0);
    shared_.here.arrive_and_wait();
    {
      const std::lock_guard lock(shared_.mutex);
      for (size_t i = 0; i < values.size(); ++i) shared_.sums[i] += values[i];
    }
    shared_.here.arrive_and_wait();
    std::copy(shared_.sums.begin(), shared_.sums.end(), values.begin());
    shared_.here.arrive_and_wait();
  }
  void barrier() override { shared_.here.arrive_and_wait(); }
  void end_job() override {}

 private:
  Shared& shared_;
  int rank_;
};

template <typename Body>
void run_ranks(int size, const Body& body) {
  Shared shared(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadRank communicator(shared, rank);
      body(communicator);
    });
  }
  for (std::thread& each : threads) each.join();
}

TEST(NcclSums, AreThoseOverAllRanks) {
  run_ranks(2, [](ThreadRank& communicator) {
    NcclSums nccl(communicator, BEACON_PRETEND_NCCL);
    const at::Tensor values = at::arange(5, at::kFloat) + 10 * communicator.rank();
    nccl.sum(values);
    EXPECT_TRUE(values.equal(2 * at::arange(5, at::kFloat) + 10));
  });
}

TEST(NcclSums, OfGradients) {
  run_ranks(2, [](ThreadRank& communicator) {
    const at::Tensor parameter = at::ones({3}).requires_grad_(true);
    GradientSums sums({{"p", ParameterKind::kProjection, parameter}}, communicator,
                      std::make_unique<NcclSums>(communicator, BEACON_PRETEND_NCCL));
    sums.begin();
    (parameter * (1 + communicator.rank())).sum().backward();
    sums.finish();
    EXPECT_TRUE(parameter.grad().equal(at::full({3}, 3.0F)));
  });
}

TEST(NcclSums, TellWhyTheyCannotBe) {
  const auto alone = single_process();
  try {
    const NcclSums nccl(*alone, "/nowhere/libnccl.so");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("/nowhere/libnccl.so"), std::string::npos) << error.what();
  }
  run_ranks(3, [](ThreadRank& communicator) {
    try {
      const NcclSums nccl(communicator, BEACON_PRETEND_NCCL);
      FAIL();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("ncclCommInitRank: invalid usage"), std::string::npos)
          << error.what();
    }
  });
}

}  // namespace
}  // namespace beacon
