// Speed of the differentiable operations, forward and backward together, each beside its twin in plain torch,
// on SmolLM2's shapes and all threads:
//   OMP_NUM_THREADS=2 autograd_bench --benchmark_repetitions=5 --benchmark_report_aggregates_only
// FLOPS counts a multiplication and an addition as two; causal attention counts the visible pairs only, and
// nothing that a twin computes beyond them. peak_gemm is the ceiling.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <benchmark/benchmark.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <string>
#include <vector>

#include "ops/autograd/attention.h"
#include "ops/autograd/frozen_linear.h"
#include "ops/autograd/linear_loss.h"
#include "ops/autograd/rms_norm.h"
#include "ops/autograd/rope.h"
#include "ops/autograd/swiglu.h"

namespace {

using namespace beacon::ops;
using autograd::Recording;
using autograd::RecordingContext;
using Leaves = std::vector<at::Tensor>;

constexpr int64_t kRows = 1088, kHidden = 576, kInner = 1536, kVocabulary = 49152;
constexpr int64_t kHeads = 9, kKvHeads = 3, kHeadDim = 64;

benchmark::Counter rate(double per_iteration) {
  return {per_iteration, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000};
}

at::Tensor bf16(at::IntArrayRef shape) { return at::randn(shape).to(at::kBFloat16); }

// range(0): 0 plain, 1 fused.
RecordingContext context(benchmark::State& state) {
  state.SetLabel(state.range(0) == 1 ? "fused" : "plain");
  return {state.range(0) == 1 ? Recording::kFused : Recording::kPlain, at::kBFloat16};
}

// Forward and, when anything has a gradient, backward with a gradient of ones.
void measure(benchmark::State& state, Leaves leaves, double flops,
             const std::function<at::Tensor(const Leaves&)>& f) {
  for (at::Tensor& leaf : leaves) leaf.requires_grad_();
  const at::Tensor ones = at::ones_like(f(leaves));
  for (auto _ : state) benchmark::DoNotOptimize(torch::autograd::grad({f(leaves)}, leaves, {ones}));
  if (flops > 0) state.counters["FLOPS"] = rate(flops);
}

// The product of the feed-forward layer, without gradients.
void peak_gemm(benchmark::State& state) {
  const at::Tensor x = bf16({kRows, kHidden}), w = bf16({kInner, kHidden});
  for (auto _ : state) benchmark::DoNotOptimize(at::mm(x, w.t()));
  state.counters["FLOPS"] = rate(2.0 * kRows * kHidden * kInner);
}
BENCHMARK(peak_gemm)->UseRealTime()->Unit(benchmark::kMillisecond);

double attention_flops(int64_t rows, int64_t keys) {
  const double pairs = static_cast<double>(rows) * (static_cast<double>(keys - rows) + (rows + 1) / 2.0);
  return 2 * 7 * pairs * kHeads * kHeadDim;  // two products forwards, five backwards
}

Leaves attention_leaves(int64_t rows, int64_t keys) {
  return {bf16({1, rows, kHeads, kHeadDim}), bf16({1, keys, kKvHeads, kHeadDim}),
          bf16({1, keys, kKvHeads, kHeadDim})};
}

void attention_shapes(benchmark::internal::Benchmark* b) {
  for (const int64_t fused : {0, 1})
    b->Args({fused, 576, 600})->Args({fused, 1088, 1600})->Args({fused, 1152, 3000});
}

void attention(benchmark::State& state) {
  const RecordingContext recording = context(state);
  AttentionOptions options;
  options.scale = 0.125;
  measure(state, attention_leaves(state.range(1), state.range(2)),
          attention_flops(state.range(1), state.range(2)),
          [&](const Leaves& x) { return autograd::attention(x[0], x[1], x[2], options, recording); });
}
BENCHMARK(attention)->UseRealTime()->Unit(benchmark::kMillisecond)->Apply(attention_shapes);

void attention_with_gate(benchmark::State& state) {
  const RecordingContext recording = context(state);
  AttentionOptions options;
  options.scale = 0.125;
  options.gated_keys = at::zeros({state.range(2)}, at::kByte);
  options.gated_keys.slice(0, 1, 128).fill_(1);
  Leaves leaves = attention_leaves(state.range(1), state.range(2));
  leaves.push_back(at::zeros({kHeads}));
  measure(state, leaves, attention_flops(state.range(1), state.range(2)), [&](const Leaves& x) {
    options.gate = x[3];
    return autograd::attention(x[0], x[1], x[2], options, recording);
  });
}
BENCHMARK(attention_with_gate)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->Args({0, 1088, 1600})
    ->Args({1, 1088, 1600});

// What torch itself offers, with the mask it needs and without a gate.
void attention_of_torch(benchmark::State& state) {
  const int64_t rows = state.range(0), keys = state.range(1);
  const at::Tensor mask = at::ones({rows, keys}, at::kBool).tril(keys - rows);
  measure(state, attention_leaves(rows, keys), attention_flops(rows, keys), [&](const Leaves& x) {
    const auto heads = [&](int i) { return x[static_cast<size_t>(i)].transpose(1, 2); };
    const at::Tensor k = heads(1).repeat_interleave(kHeads / kKvHeads, 1);
    const at::Tensor v = heads(2).repeat_interleave(kHeads / kKvHeads, 1);
    return at::scaled_dot_product_attention(heads(0), k, v, mask, 0.0, false, 0.125).transpose(1, 2);
  });
}
BENCHMARK(attention_of_torch)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->Args({576, 600})
    ->Args({1088, 1600})
    ->Args({1152, 3000});

void rms_norm(benchmark::State& state) {
  const RecordingContext recording = context(state);
  const at::Tensor weight = at::ones({kHidden});
  measure(state, {at::randn({kRows, kHidden})}, 0,
          [&](const Leaves& x) { return autograd::rms_norm(x[0], weight, 1e-5, recording); });
}
BENCHMARK(rms_norm)->UseRealTime()->Unit(benchmark::kMillisecond)->Arg(0)->Arg(1);

void swiglu(benchmark::State& state) {
  const RecordingContext recording = context(state);
  measure(state, {bf16({kRows, kInner}), bf16({kRows, kInner})}, 0,
          [&](const Leaves& x) { return autograd::swiglu(x[0], x[1], recording); });
}
BENCHMARK(swiglu)->UseRealTime()->Unit(benchmark::kMillisecond)->Arg(0)->Arg(1);

void rope(benchmark::State& state) {
  const RecordingContext recording = context(state);
  const RopeTable table{at::rand({kRows, kHeadDim / 2}), at::rand({kRows, kHeadDim / 2})};
  measure(state, {bf16({1, kRows, kHeads, kHeadDim})}, 0,
          [&](const Leaves& x) { return autograd::rope(x[0], table, recording); });
}
BENCHMARK(rope)->UseRealTime()->Unit(benchmark::kMillisecond)->Arg(0)->Arg(1);

void frozen_linear(benchmark::State& state) {
  const RecordingContext recording = context(state);
  const at::Tensor weight = bf16({kInner, kHidden});
  measure(state, {bf16({kRows, kHidden})}, 4.0 * kRows * kHidden * kInner,
          [&](const Leaves& x) { return autograd::frozen_linear(x[0], weight, at::Tensor(), recording); });
}
BENCHMARK(frozen_linear)->UseRealTime()->Unit(benchmark::kMillisecond)->Arg(0)->Arg(1);

// range(1) rows, range(2) rows of a chunk, range(3) with a teacher.
void linear_loss(benchmark::State& state) {
  const RecordingContext recording = context(state);
  const int64_t rows = state.range(1);
  const bool taught = state.range(3) != 0;
  const at::Tensor head = bf16({kVocabulary, kHidden}) * 0.05,
                   labels = at::randint(0, kVocabulary, {rows}, at::kInt);
  autograd::LinearLossOptions options;
  options.chunk_rows = state.range(2);
  if (taught) {
    options.teacher_hidden = bf16({rows, kHidden});
    options.divergence_weight = 1.0;
  }
  measure(state, {bf16({rows, kHidden})},
          (taught ? 6.0 : 4.0) * static_cast<double>(rows * kHidden * kVocabulary), [&](const Leaves& x) {
            return autograd::linear_loss(x[0], head, labels, options, recording).total;
          });
}
BENCHMARK(linear_loss)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->Args({0, 512, 128, 0})
    ->Args({1, 512, 64, 0})
    ->Args({1, 512, 128, 0})
    ->Args({1, 512, 256, 0})
    ->Args({0, 512, 128, 1})
    ->Args({1, 512, 128, 1});

}  // namespace

BENCHMARK_MAIN();
