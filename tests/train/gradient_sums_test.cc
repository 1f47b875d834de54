#include "train/gradient_sums.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/custom_function.h>

#include <chrono>
#include <stdexcept>

#include "ops/pretend_device.h"

namespace beacon {
namespace {

// Two processes, of which the other has the same gradients.
class Doubling : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 2; }
  bool in_any_thread() const override { return any_thread; }
  void sum(std::span<float> values) override {
    if (broken) throw std::runtime_error("the other is gone");
    for (float& value : values) value *= 2;
    const std::lock_guard lock(mutex);
    sizes.push_back(values.size());
    threads.push_back(std::this_thread::get_id());
    changed.notify_all();
  }
  void sum(std::span<double>) override {}
  void barrier() override {}
  void end_job() override {}

  bool wait_for(size_t sums) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(60), [&] { return sizes.size() >= sums; });
  }

  bool any_thread = true, broken = false;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<size_t> sizes;
  std::vector<std::thread::id> threads;
};

// x, whose backward pass waits until the communicator has made a sum.
struct WaitInBackward : torch::autograd::Function<WaitInBackward> {
  static inline Doubling* communicator = nullptr;
  static inline bool came = false;
  static at::Tensor forward(torch::autograd::AutogradContext* /*context*/, const at::Tensor& x) {
    return x.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* /*context*/,
                                                 const torch::autograd::variable_list& gradients) {
    came = communicator->wait_for(1);
    return {gradients[0]};
  }
};

class GradientSumsTest : public ::testing::Test {
 protected:
  // Parameters of 2, 3 and 4 numbers; the last two are in the loss.
  void SetUp() override {
    for (const int64_t n : {2, 3, 4}) {
      parameters_.push_back({"p", ParameterKind::kProjection, at::ones({n}).requires_grad_(true)});
    }
  }
  at::Tensor parameter(size_t i) const { return parameters_[i].tensor; }
  at::Tensor loss() const { return parameter(1).sum() * 3 + parameter(2).sum() * 5; }
  // Every element of a gradient, which are all the same.
  float gradient(size_t i) const {
    const at::Tensor& g = parameter(i).grad();
    EXPECT_TRUE(g.eq(g[0]).all().item<bool>());
    return g[0].item<float>();
  }

  std::vector<NamedParameter> parameters_;
  Doubling communicator_;
};

TEST_F(GradientSumsTest, AreMadeWhileTheBackwardPassGoesOn) {
  GradientSums sums(parameters_, communicator_);
  WaitInBackward::communicator = &communicator_;
  WaitInBackward::came = false;
  sums.begin();
  // What was made last is differentiated first.
  const at::Tensor first = WaitInBackward::apply(parameter(1)).sum() * 3;
  const at::Tensor last = parameter(2).sum() * 5;
  (first + last).backward();
  EXPECT_TRUE(WaitInBackward::came);
  sums.finish();
  EXPECT_EQ(communicator_.sizes, (std::vector<size_t>{4, 3, 2}));
  EXPECT_EQ(gradient(0), 0);
  EXPECT_EQ(gradient(1), 6);
  EXPECT_EQ(gradient(2), 10);
}

TEST_F(GradientSumsTest, WaitForTheLastOfAnUpdate) {
  GradientSums sums(parameters_, communicator_);
  for (int update = 1; update <= 2; ++update) {
    communicator_.sizes.clear();
    loss().backward();
    EXPECT_TRUE(communicator_.sizes.empty());
    sums.begin();
    loss().backward();
    sums.finish();
    EXPECT_EQ(communicator_.sizes, (std::vector<size_t>{4, 3, 2}));
    EXPECT_EQ(gradient(1), 2 * 2 * 3);
    EXPECT_EQ(gradient(2), 2 * 2 * 5);
    for (size_t i = 0; i < 3; ++i) parameter(i).mutable_grad().reset();
  }
}

TEST_F(GradientSumsTest, WithoutABeginningAreMadeInTheEnd) {
  GradientSums sums(parameters_, communicator_);
  loss().backward();
  sums.finish();
  EXPECT_EQ(communicator_.sizes, (std::vector<size_t>{4, 3, 2}));
  EXPECT_EQ(gradient(2), 10);
}

TEST_F(GradientSumsTest, OfAnotherDeviceAreMadeInHostMemory) {
  const at::Device device = testing::pretend_device();
  for (NamedParameter& each : parameters_) each.tensor = each.tensor.detach().to(device).requires_grad_(true);
  GradientSums sums(parameters_, communicator_);
  loss().backward();
  sums.finish();
  EXPECT_EQ(parameter(2).grad().device(), device);
  EXPECT_TRUE(parameter(2).grad().cpu().equal(at::full({4}, 10.0F)));
}

TEST_F(GradientSumsTest, KeepToOneThreadWhereTheyMust) {
  communicator_.any_thread = false;
  GradientSums sums(parameters_, communicator_);
  sums.begin();
  loss().backward();
  sums.finish();
  EXPECT_EQ(communicator_.threads, std::vector<std::thread::id>(3, std::this_thread::get_id()));
  EXPECT_EQ(gradient(1), 6);
}

TEST_F(GradientSumsTest, TellWhatWentWrong) {
  communicator_.broken = true;
  GradientSums sums(parameters_, communicator_);
  sums.begin();
  loss().backward();
  EXPECT_THROW(sums.finish(), std::runtime_error);
}

TEST_F(GradientSumsTest, OfOneProcessAreWhatTheyWere) {
  const auto alone = single_process();
  GradientSums sums(parameters_, *alone);
  sums.begin();
  loss().backward();
  sums.finish();
  EXPECT_FALSE(parameter(0).grad().defined());
  EXPECT_EQ(gradient(1), 3);
}

}  // namespace
}  // namespace beacon
