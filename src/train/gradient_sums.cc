#include "train/gradient_sums.h"

#include <ATen/Functions.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/variable.h>

#include <span>
#include <utility>

namespace beacon {

// Called by autograd, in its own thread on a GPU, when a gradient has been added to.
struct GradientSums::Hook : torch::autograd::PostAccumulateGradHook {
  Hook(GradientSums& sums, size_t index) : sums(sums), index(index) {}
  void operator()(const at::Tensor& /*parameter*/) override { sums.complete(index); }
  GradientSums& sums;
  size_t index;
};

GradientSums::GradientSums(std::vector<NamedParameter> parameters, Communicator& communicator,
                           std::unique_ptr<NcclSums> nccl)
    : parameters_(std::move(parameters)),
      communicator_(communicator),
      nccl_(std::move(nccl)),
      complete_(parameters_.size()),
      unsummed_(parameters_.size()) {
  if (communicator.size() == 1 || !communicator.in_any_thread()) return;
  for (size_t i = 0; i < parameters_.size(); ++i)
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_[i].tensor, std::make_unique<Hook>(*this, i));
  thread_ = std::thread([this] { work(); });
}

GradientSums::~GradientSums() {
  if (!thread_.joinable()) return;
  for (const NamedParameter& each : parameters_)
    torch::autograd::impl::set_post_acc_grad_hooks(each.tensor, nullptr);
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void GradientSums::begin() {
  const std::lock_guard lock(mutex_);
  begun_ = true;
}

void GradientSums::complete(size_t index) {
  {
    const std::lock_guard lock(mutex_);
    if (!begun_) return;
    complete_[index] = true;
  }
  changed_.notify_all();
}

void GradientSums::finish() {
  if (communicator_.size() == 1) return;
  std::unique_lock lock(mutex_);
  // The thread touches complete ones alone, and those have a gradient.
  for (const NamedParameter& each : parameters_) {
    at::Tensor tensor = each.tensor;
    if (!tensor.grad().defined()) tensor.mutable_grad() = at::zeros_like(tensor.detach());
  }
  if (thread_.joinable()) {
    complete_.assign(parameters_.size(), true);
    changed_.notify_all();
    changed_.wait(lock, [&] { return unsummed_ == 0 || error_ != nullptr; });
    if (error_ != nullptr) std::rethrow_exception(error_);
  } else {
    for (; unsummed_ > 0; --unsummed_) sum(unsummed_ - 1);
  }
  begun_ = false;
  complete_.assign(parameters_.size(), false);
  unsummed_ = parameters_.size();
}

void GradientSums::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stop_ || (unsummed_ > 0 && complete_[unsummed_ - 1]); });
    if (stop_) return;
    const size_t next = unsummed_ - 1;
    lock.unlock();
    try {
      sum(next);
    } catch (...) {
      lock.lock();
      error_ = std::current_exception();
      changed_.notify_all();
      return;
    }
    lock.lock();
    --unsummed_;
    changed_.notify_all();
  }
}

void GradientSums::sum(size_t index) const {
  const at::Tensor& gradient = parameters_[index].tensor.grad();
  if (nccl_ != nullptr) {
    const c10::DeviceGuard guard(gradient.device());
    return nccl_->sum(gradient);
  }
  const at::Tensor host = gradient.cpu().contiguous();
  communicator_.sum(std::span(host.data_ptr<float>(), static_cast<size_t>(host.numel())));
  if (!host.is_same(gradient)) gradient.copy_(host);
}

}  // namespace beacon
