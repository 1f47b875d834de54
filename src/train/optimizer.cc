#include "train/optimizer.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "base/check.h"

namespace beacon {

AdamW::AdamW(std::vector<NamedParameter> parameters, const AdamWOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  for (const NamedParameter& p : parameters_) {
    first_.push_back(at::zeros_like(p.tensor.detach()));
    second_.push_back(at::zeros_like(p.tensor.detach()));
  }
}

double AdamW::scale_gradients(double scale) {
  double squares = 0.0;
  for (const NamedParameter& p : parameters_) {
    if (!p.tensor.grad().defined()) continue;
    at::Tensor gradient = p.tensor.grad();
    if (scale != 1.0) gradient.mul_(scale);
    const double norm = at::linalg_vector_norm(gradient, 2, c10::nullopt, false, at::kDouble).item<double>();
    squares += norm * norm;
  }
  return std::sqrt(squares);
}

void AdamW::step(double learning_rate) {
  const at::NoGradGuard no_gradients;
  ++updates_;
  const auto t = static_cast<double>(updates_);
  const double correction1 = 1.0 - std::pow(options_.beta1, t);
  const double correction2 = std::sqrt(1.0 - std::pow(options_.beta2, t));
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const NamedParameter& p = parameters_[i];
    at::Tensor value = p.tensor;
    const double rate = learning_rate * multiplier(p.kind);
    if (options_.weight_decay > 0 && value.dim() == 2) value.mul_(1.0 - rate * options_.weight_decay);
    first_[i].mul_(options_.beta1);
    second_[i].mul_(options_.beta2);
    if (const at::Tensor& gradient = p.tensor.grad(); gradient.defined()) {
      first_[i].add_(gradient, 1.0 - options_.beta1);
      second_[i].addcmul_(gradient, gradient, 1.0 - options_.beta2);
    }
    const at::Tensor size = (second_[i].sqrt() / correction2).add_(options_.epsilon);
    value.addcdiv_(first_[i], size, -rate / correction1);
  }
}

void AdamW::clear_gradients() {
  for (const NamedParameter& p : parameters_) {
    at::Tensor tensor = p.tensor;
    tensor.mutable_grad().reset();
  }
}

void AdamW::restore(const std::vector<at::Tensor>& first, const std::vector<at::Tensor>& second,
                    int64_t updates) {
  BEACON_CHECK(first.size() == first_.size() && second.size() == second_.size());
  for (size_t i = 0; i < first_.size(); ++i) {
    first_[i].copy_(first[i]);
    second_[i].copy_(second[i]);
  }
  updates_ = updates;
}

double AdamW::multiplier(ParameterKind kind) const {
  switch (kind) {
    case ParameterKind::kProjection:
      return 1.0;
    case ParameterKind::kEmbedding:
      return options_.embedding_multiplier;
    case ParameterKind::kGate:
      return options_.gate_multiplier;
    case ParameterKind::kLora:
      return options_.lora_multiplier;
  }
  return 1.0;
}

}  // namespace beacon
