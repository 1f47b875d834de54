#include "ops/autograd/linear_loss.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/check.h"
#include "kernels/loss_rows.h"
#include "ops/element_type.h"
#include "ops/parallel.h"

namespace beacon::ops::autograd {
namespace {

// Some scored rows, C of them.
struct Chunk {
  at::Tensor logits;          // [C, V] in the compute type
  at::Tensor teacher_logits;  // the same, or undefined without divergence
  at::Tensor labels;          // i32 [C]
};

// Their losses, and the gradient of the weighted total to their logits.
struct ChunkLoss {
  at::Tensor cross_entropy;    // f32 [C]
  at::Tensor divergence;       // f32 [C] or undefined
  at::Tensor logits_gradient;  // [C, V] in the compute type
};

ChunkLoss chunk_loss_plain(const Chunk& chunk, const LinearLossOptions& options) {
  const at::Tensor& logits = chunk.logits;
  const at::Tensor& teacher_logits = chunk.teacher_logits;
  const at::Tensor labels = chunk.labels.to(at::kLong);
  ChunkLoss loss;
  const at::Tensor log_p = at::log_softmax(logits.to(at::kFloat), -1);
  loss.cross_entropy = -log_p.gather(1, labels.unsqueeze(1)).squeeze(1);
  at::Tensor gradient = log_p.exp() * (options.cross_entropy_weight + options.divergence_weight);
  gradient.scatter_add_(1, labels.unsqueeze(1),
                        at::full({labels.size(0), 1}, -options.cross_entropy_weight, gradient.options()));
  if (teacher_logits.defined()) {
    const at::Tensor log_t = at::log_softmax(teacher_logits.to(at::kFloat), -1);
    const at::Tensor t = log_t.exp();
    loss.divergence = (t * (log_t - log_p)).sum(-1);
    gradient.sub_(t, options.divergence_weight);
  }
  loss.logits_gradient = gradient.to(logits.scalar_type());
  return loss;
}

// Writes the gradient over the logits.
ChunkLoss chunk_loss_fused(const Chunk& chunk, const LinearLossOptions& options, bool differentiate) {
  ChunkLoss loss;
  const auto f32 = chunk.logits.options().dtype(at::kFloat);
  loss.cross_entropy = at::empty({chunk.labels.size(0)}, f32);
  kernels::LossRows rows;
  rows.type = element_type(chunk.logits);
  rows.logits = chunk.logits.data_ptr();
  rows.labels = chunk.labels.const_data_ptr<int32_t>();
  rows.vocabulary = chunk.logits.size(1);
  rows.cross_entropy_weight = static_cast<float>(options.cross_entropy_weight);
  rows.divergence_weight = static_cast<float>(options.divergence_weight);
  rows.differentiate = differentiate;
  rows.cross_entropy = loss.cross_entropy.data_ptr<float>();
  if (chunk.teacher_logits.defined()) {
    loss.divergence = at::empty({chunk.labels.size(0)}, f32);
    rows.teacher = chunk.teacher_logits.const_data_ptr();
    rows.divergence = loss.divergence.data_ptr<float>();
  }
  parallel_for(chunk.labels.size(0), 1,
               [&](int64_t begin, int64_t end) { kernels::loss_rows(rows, begin, end); });
  loss.logits_gradient = chunk.logits;
  return loss;
}

// Ties a gradient that is known already to the total.
class KnownGradient : public torch::autograd::Function<KnownGradient> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& /*hidden*/,
                            const at::Tensor& total, const at::Tensor& gradient) {
    ctx->save_for_backward({gradient});
    return total.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const at::Tensor gradient = ctx->get_saved_variables()[0];
    return {gradient * grads[0].to(gradient.scalar_type()), at::Tensor(), at::Tensor()};
  }
};

void check(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& labels,
           const LinearLossOptions& options) {
  BEACON_CHECK(hidden.dim() == 2 && head.dim() == 2 && head.size(1) == hidden.size(1));
  BEACON_CHECK(labels.dim() == 1 && labels.size(0) == hidden.size(0) && labels.scalar_type() == at::kInt);
  BEACON_CHECK(options.chunk_rows > 0);
  BEACON_CHECK(options.divergence_weight == 0.0 ||
               (options.teacher_hidden.defined() && options.teacher_hidden.sizes() == hidden.sizes()));
  BEACON_CHECK(!options.row_weights.defined() || options.row_weights.sizes() == labels.sizes());
}

// i64 indices of the rows that count.
at::Tensor scored_rows(const at::Tensor& labels, int64_t vocabulary) {
  BEACON_CHECK(labels.is_cpu());
  const at::Tensor rows = labels.ne(kIgnoredLabel).nonzero().squeeze(1);
  if (rows.numel() == 0) return rows;
  const at::Tensor scored = labels.index_select(0, rows);
  const auto smallest = scored.min().item<int32_t>(), largest = scored.max().item<int32_t>();
  require(smallest >= 0 && largest < vocabulary, ErrorCode::kInvalidArgument,
          "[linear_loss] expected labels from 0 to {} or {}, found {}; was the text tokenised for another "
          "model?",
          vocabulary - 1, kIgnoredLabel, smallest < 0 ? smallest : largest);
  return rows;
}

}  // namespace

LinearLoss linear_loss(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& labels,
                       const LinearLossOptions& options, const RecordingContext& context) {
  check(hidden, head, labels, options);
  const bool distil = options.divergence_weight != 0.0;
  const bool differentiate = hidden.requires_grad() && at::GradMode::is_enabled();
  const at::Tensor host_rows = scored_rows(labels, head.size(0));
  const at::Tensor rows = host_rows.to(context.device);
  const at::Tensor scored_labels = labels.index_select(0, host_rows).to(context.device);
  LinearLoss loss;
  loss.scored = rows.numel();
  loss.cross_entropy = at::zeros({hidden.size(0)}, hidden.options().dtype(at::kFloat));
  if (distil) loss.divergence = at::zeros_like(loss.cross_entropy);
  at::Tensor gradient;
  {
    const at::NoGradGuard no_grad;
    const at::Tensor weight = head.to(context.compute);
    if (differentiate) gradient = at::zeros(hidden.sizes(), weight.options());
    for (int64_t begin = 0; begin < loss.scored; begin += options.chunk_rows) {
      const at::Tensor at_rows = rows.slice(0, begin, begin + options.chunk_rows);
      const auto logits_of = [&](const at::Tensor& states) {
        return at::mm(states.index_select(0, at_rows).to(context.compute), weight.t());
      };
      const Chunk chunk{logits_of(hidden), distil ? logits_of(options.teacher_hidden) : at::Tensor(),
                        scored_labels.slice(0, begin, begin + options.chunk_rows)};
      const ChunkLoss part = context.has_kernels() ? chunk_loss_fused(chunk, options, differentiate)
                                                   : chunk_loss_plain(chunk, options);
      loss.cross_entropy.index_copy_(0, at_rows, part.cross_entropy);
      if (distil) loss.divergence.index_copy_(0, at_rows, part.divergence);
      if (differentiate) gradient.index_copy_(0, at_rows, at::mm(part.logits_gradient, weight));
    }
    at::Tensor row_loss = loss.cross_entropy * options.cross_entropy_weight;
    if (distil) row_loss.add_(loss.divergence, options.divergence_weight);
    if (options.row_weights.defined()) {
      row_loss.mul_(options.row_weights);
      if (differentiate) gradient.mul_(options.row_weights.unsqueeze(1));
    }
    loss.total = row_loss.sum();
  }
  if (differentiate) loss.total = KnownGradient::apply(hidden, loss.total, gradient.to(hidden.scalar_type()));
  return loss;
}

}  // namespace beacon::ops::autograd
