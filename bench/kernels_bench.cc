// Speed of the kernels on one core, with what the machine could do beside it. Run with BEACON_ISA to compare
// builds:
//   kernels_bench --benchmark_repetitions=5 --benchmark_report_aggregates_only
// FLOPS counts a multiplication and an addition as two; causal attention counts the visible pairs only.
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/attention_decode.h"
#include "kernels/convert.h"
#include "kernels/isa.h"
#include "kernels/linear.h"
#include "kernels/rows.h"

namespace {

using namespace beacon;

std::vector<float> normal(int64_t n) {
  std::mt19937 random(1);
  std::normal_distribution<float> draw(0.0F, 1.0F);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = draw(random);
  return values;
}

benchmark::Counter rate(double per_iteration) {
  return {per_iteration, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000};
}

// The ceiling of arithmetic on AVX2: twelve independent chains of fused multiply-adds of eight floats.
#if defined(__x86_64__) && defined(__GNUC__)
void peak_fma(benchmark::State& state) {
  if (!__builtin_cpu_supports("fma")) {
    state.SkipWithError("no FMA");
    return;
  }
  for (auto _ : state) {
    for (int i = 0; i < 10000; ++i) {
#define BEACON_BENCH_FMA(n) "vfmadd231ps %%ymm12, %%ymm12, %%ymm" #n "\n"
      asm volatile(BEACON_BENCH_FMA(0) BEACON_BENCH_FMA(1) BEACON_BENCH_FMA(2) BEACON_BENCH_FMA(3)
                       BEACON_BENCH_FMA(4) BEACON_BENCH_FMA(5) BEACON_BENCH_FMA(6) BEACON_BENCH_FMA(7)
                           BEACON_BENCH_FMA(8) BEACON_BENCH_FMA(9) BEACON_BENCH_FMA(10) BEACON_BENCH_FMA(11)
                   :
                   :
                   : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                     "xmm11", "xmm12");
    }
    asm volatile("vzeroupper");
  }
  state.counters["FLOPS"] = rate(10000.0 * 12 * 16);
}
BENCHMARK(peak_fma);
#endif

// The ceiling of reading: the sum of 256 MiB.
void peak_read(benchmark::State& state) {
  const std::vector<float> x(64 << 20, 1.0F);
  for (auto _ : state) {
    typedef float V4 __attribute__((vector_size(16)));
    V4 sums[8] = {};
    const V4* values = reinterpret_cast<const V4*>(x.data());
    for (size_t i = 0; i < x.size() / 4; i += 8) {
      for (size_t j = 0; j < 8; ++j) sums[j] += values[i + j];
    }
    benchmark::DoNotOptimize(sums);
  }
  state.counters["bytes"] = rate(static_cast<double>(x.size()) * 4);
}
BENCHMARK(peak_read)->Unit(benchmark::kMillisecond);

// Weights of 128 MiB, beyond every cache; range(0) the type, range(1) rows of activations, range(2) 15-bit
// activations.
void linear(benchmark::State& state) {
  const auto type = static_cast<DType>(state.range(0));
  const int64_t rows = state.range(1);
  const int64_t in = 1536;
  const auto row_bytes = static_cast<int64_t>(*dtype_bytes(type, in));
  const int64_t out = (128 << 20) / row_bytes;
  std::vector<std::byte> weight(static_cast<size_t>(out * row_bytes), std::byte{0x11});
  const auto x = normal(rows * in);
  std::vector<kernels::Q15Group> groups(x.size() / 128);
  std::vector<float> y(static_cast<size_t>(rows * out));
  for (auto _ : state) {
    if (state.range(2) != 0) {
      kernels::quantize_activations_q15(x.data(), groups.data(), rows * in);
      kernels::linear_rows_q15({.weight_type = type,
                                .weight = weight.data(),
                                .weight_row_bytes = row_bytes,
                                .x = groups.data(),
                                .x_stride = in / 128,
                                .y = y.data(),
                                .y_stride = out,
                                .rows = rows,
                                .in = in},
                               0, out);
    } else {
      kernels::linear_rows({.weight_type = type,
                            .weight = weight.data(),
                            .weight_row_bytes = row_bytes,
                            .x = x.data(),
                            .x_stride = in,
                            .y = y.data(),
                            .y_stride = out,
                            .rows = rows,
                            .in = in},
                           0, out);
    }
    benchmark::DoNotOptimize(y.data());
  }
  state.SetLabel(std::string(dtype_info(type).name) + (state.range(2) != 0 ? " x q15 " : " x f32 ") +
                 kernels::active_isa_name());
  state.counters["bytes"] = rate(static_cast<double>(out * row_bytes));
  state.counters["FLOPS"] = rate(2.0 * static_cast<double>(out * in * rows));
}
BENCHMARK(linear)->Unit(benchmark::kMillisecond)->Apply([](benchmark::internal::Benchmark* b) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1,
                           DType::kQ5_0, DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    for (const int64_t rows : {1, 8}) b->Args({static_cast<int64_t>(type), rows, 0});
    if (!is_quantised(type)) continue;
    for (const int64_t rows : {1, 2, 4, 8}) b->Args({static_cast<int64_t>(type), rows, 1});
  }
});

// A layer's widest product, of 576 (768) by 1,536, from the second cache.
struct LayerProduct {
  LayerProduct(DType weights, int64_t number_of_rows)
      : type(weights),
        rows(number_of_rows),
        in(dtype_info(type).block_elements == 256 ? 768 : 576),
        row_bytes(static_cast<int64_t>(*dtype_bytes(type, static_cast<uint64_t>(in)))),
        weight(static_cast<size_t>(kOut * row_bytes), std::byte{0x11}),
        x(normal(rows * in)),
        y(static_cast<size_t>(rows * kOut)) {}

  void report(benchmark::State& state) const {
    state.SetLabel(std::string(dtype_info(type).name) + " " + kernels::active_isa_name());
    state.counters["FLOPS"] = rate(2.0 * static_cast<double>(kOut * in * rows));
  }

  // All that both kernels are told alike.
  template <typename Params>
  Params params() {
    Params p;
    p.weight_type = type;
    p.weight = weight.data();
    p.weight_row_bytes = row_bytes;
    p.y = y.data();
    p.y_stride = kOut;
    p.rows = rows;
    p.in = in;
    return p;
  }

  static constexpr int64_t kOut = 1536;
  DType type;
  int64_t rows, in, row_bytes;
  std::vector<std::byte> weight;
  std::vector<float> x, y;
};

// range(0) the type, range(1) rows of 15-bit activations.
void linear_layer(benchmark::State& state) {
  LayerProduct p(static_cast<DType>(state.range(0)), state.range(1));
  const int64_t groups = (p.in + 127) / 128;
  std::vector<kernels::Q15Group> q(static_cast<size_t>(p.rows * groups));
  auto params = p.params<kernels::LinearQ15Params>();
  params.x = q.data();
  params.x_stride = groups;
  for (auto _ : state) {
    for (int64_t r = 0; r < p.rows; ++r)
      kernels::quantize_activations_q15(p.x.data() + r * p.in, q.data() + r * groups, p.in);
    kernels::linear_rows_q15(params, 0, LayerProduct::kOut);
    benchmark::DoNotOptimize(p.y.data());
  }
  p.report(state);
}
BENCHMARK(linear_layer)->Unit(benchmark::kMicrosecond)->Apply([](benchmark::internal::Benchmark* b) {
  for (const DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ4_K,
                           DType::kQ5_K, DType::kQ6_K}) {
    for (const int64_t rows : {1, 2, 3, 4, 8, 16, 32}) b->Args({static_cast<int64_t>(type), rows});
  }
});

// The same through the kernel of many rows.
void linear_matrix(benchmark::State& state) {
  LayerProduct p(static_cast<DType>(state.range(0)), state.range(1));
  std::vector<int16_t> q(p.x.size());
  std::vector<float> scale(p.x.size() / 32), sums(p.x.size() / 32);
  auto params = p.params<kernels::LinearMatrixParams>();
  params.x = q.data();
  params.x_scale = scale.data();
  params.x_sums = sums.data();
  for (auto _ : state) {
    for (int64_t r = 0; r < p.rows; r += kernels::kLinearTileRows) {
      kernels::round_tile_q15(p.x.data() + r * p.in, p.in, kernels::kLinearTileRows, p.in,
                              q.data() + r * p.in, scale.data() + r * p.in / 32, sums.data() + r * p.in / 32);
    }
    kernels::linear_matrix_q15(params, 0, LayerProduct::kOut);
    benchmark::DoNotOptimize(p.y.data());
  }
  p.report(state);
}
BENCHMARK(linear_matrix)->Unit(benchmark::kMicrosecond)->Apply([](benchmark::internal::Benchmark* b) {
  for (const DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ4_K,
                           DType::kQ5_K, DType::kQ6_K}) {
    for (const int64_t rows : {4, 8, 16, 32, 1152}) b->Args({static_cast<int64_t>(type), rows});
  }
});

// SmolLM2's shape: 9 query heads, 3 KV heads of 64. range(0) queries, range(1) keys, range(2) bf16 keys and
// values.
struct AttentionArrays {
  AttentionArrays(int64_t queries, int64_t keys, bool half)
      : q(normal(queries * 9 * 64)), kv(normal(3 * keys * 64)), kv_half(kv.size()), out(q.size()) {
    for (size_t i = 0; i < kv.size(); ++i) kv_half[i] = static_cast<uint16_t>(0x3F00 + i % 64);
    const void* data = half ? static_cast<const void*>(kv_half.data()) : kv.data();
    p = {.q = q.data(),
         .q_row_stride = 9 * 64,
         .q_head_stride = 64,
         .kv_type = half ? DType::kBF16 : DType::kF32,
         .k = data,
         .k_head_stride = keys * 64,
         .k_row_stride = 64,
         .v = data,
         .v_head_stride = keys * 64,
         .v_row_stride = 64,
         .out = out.data(),
         .out_row_stride = 9 * 64,
         .out_head_stride = 64,
         .num_queries = queries,
         .num_keys = keys,
         .num_heads = 9,
         .num_kv_heads = 3,
         .head_dim = 64,
         .scale = 0.125F};
  }
  double flops() const {
    const double pairs =
        static_cast<double>(p.num_queries) *
        (static_cast<double>(p.num_keys - p.num_queries) + (static_cast<double>(p.num_queries) + 1) / 2);
    return 4 * pairs * 9 * 64;
  }
  std::vector<float> q, kv;
  std::vector<uint16_t> kv_half;
  std::vector<float> out;
  kernels::AttentionDecodeParams p;
};

void attention_decode(benchmark::State& state) {
  AttentionArrays arrays(state.range(0), state.range(1), state.range(2) != 0);
  std::vector<float> scratch(static_cast<size_t>(kernels::attention_decode_scratch_floats(arrays.p)));
  std::vector<float> partials(static_cast<size_t>(kernels::attention_partial_floats(arrays.p, 1)));
  for (auto _ : state) {
    kernels::attention_decode(arrays.p, 1, 0, 3, partials.data(), scratch.data());
    kernels::attention_merge(arrays.p, 1, partials.data());
    benchmark::DoNotOptimize(arrays.out.data());
  }
  state.SetLabel(kernels::active_isa_name());
  state.counters["FLOPS"] = rate(arrays.flops());
  state.counters["bytes"] =
      rate(2.0 * 3 * 64 * static_cast<double>(state.range(1)) * (state.range(2) != 0 ? 2 : 4));
}
BENCHMARK(attention_decode)
    ->Unit(benchmark::kMicrosecond)
    ->Args({1, 2048, 0})
    ->Args({1, 2048, 1})
    ->Args({1, 65536, 0})
    ->Args({1, 65536, 1})
    ->Args({4, 2048, 0});

// Training: SmolLM2's shape; range(0) queries, range(1) keys, range(2) bf16.
struct AttentionGradientArrays {
  AttentionGradientArrays(int64_t queries, int64_t keys, bool half)
      : in(normal(4 * keys * 9 * 64)),
        in_half(in.size()),
        out(2 * in.size()),
        lse(static_cast<size_t>(9 * queries)) {
    kernels::f32_to_bf16(in.data(), in_half.data(), static_cast<int64_t>(in.size()));
    const int64_t bytes = half ? 2 : 4;
    const char* from =
        half ? reinterpret_cast<const char*>(in_half.data()) : reinterpret_cast<const char*>(in.data());
    char* to = reinterpret_cast<char*>(out.data());
    const int64_t rows = queries * 9 * 64 * bytes;
    const int64_t memory = keys * 3 * 64 * bytes;
    const DType type = half ? DType::kBF16 : DType::kF32;
    p.q = {from, 9 * 64, 64, type};
    p.dout = {from + rows, 9 * 64, 64, type};
    p.k = {from + 2 * rows, 3 * 64, 64, type};
    p.v = {from + 2 * rows + memory, 3 * 64, 64, type};
    p.num_queries = queries;
    p.num_keys = keys;
    p.num_heads = 9;
    p.num_kv_heads = 3;
    p.head_dim = 64;
    p.scale = 0.125F;
    p.out = {to, 9 * 64, 64, type};
    p.dq = {to + rows, 9 * 64, 64, type};
    p.dk = {to + 2 * rows, 3 * 64, 64, type};
    p.dv = {to + 2 * rows + memory, 3 * 64, 64, type};
    p.lse = lse.data();
  }
  // A multiplication and an addition per pair of a query and a visible key, head and dimension, `products`
  // times.
  double flops(int products) const {
    const auto t = static_cast<double>(p.num_queries);
    return 2.0 * products * t * (static_cast<double>(p.num_keys) - t + (t + 1) / 2) * 9 * 64;
  }
  std::vector<float> in;
  std::vector<uint16_t> in_half;
  std::vector<float> out, lse;
  kernels::AttentionParams p;
};

void attention_forward(benchmark::State& state, bool integers) {
  AttentionGradientArrays arrays(state.range(0), state.range(1), state.range(2) != 0);
  arrays.p.integers = integers;
  std::vector<float> scratch(static_cast<size_t>(kernels::attention_forward_scratch_floats(arrays.p)));
  for (auto _ : state) {
    kernels::attention_forward(arrays.p, 0, kernels::attention_forward_units(arrays.p), scratch.data());
    benchmark::DoNotOptimize(arrays.out.data());
  }
  state.SetLabel(kernels::active_isa_name());
  state.counters["FLOPS"] = rate(arrays.flops(2));
}

void attention_backward(benchmark::State& state) {
  AttentionGradientArrays arrays(state.range(0), state.range(1), state.range(2) != 0);
  const auto& p = arrays.p;
  const int64_t rows = kernels::attention_backward_row_units(p);
  std::vector<float> forward(static_cast<size_t>(kernels::attention_forward_scratch_floats(p)));
  std::vector<float> scratch(static_cast<size_t>(kernels::attention_backward_scratch_floats(p)));
  std::vector<float> work(static_cast<size_t>(kernels::attention_backward_workspace_floats(p)));
  kernels::attention_forward(p, 0, kernels::attention_forward_units(p), forward.data());
  for (auto _ : state) {
    kernels::attention_backward_rows(p, 0, rows, work.data(), scratch.data());
    kernels::attention_backward_keys(p, 0, kernels::attention_backward_key_units(p), work.data(),
                                     scratch.data());
    kernels::attention_backward_queries(p, 0, rows, work.data(), scratch.data());
    benchmark::DoNotOptimize(arrays.out.data());
  }
  state.SetLabel(kernels::active_isa_name());
  state.counters["FLOPS"] = rate(arrays.flops(5));
}
void training_shapes(benchmark::internal::Benchmark* b) {
  for (const int64_t half : {1, 0}) {
    b->Args({576, 600, half})->Args({1088, 1600, half})->Args({1152, 3000, half});
  }
  b->Unit(benchmark::kMillisecond);
}
BENCHMARK_CAPTURE(attention_forward, floats, false)->Apply(training_shapes);
BENCHMARK_CAPTURE(attention_forward, integers, true)
    ->Args({1152, 3000, 0})
    ->Args({1152, 8192, 0})
    ->Unit(benchmark::kMillisecond);
BENCHMARK(attention_backward)->Apply(training_shapes);

void pointwise(benchmark::State& state) {
  const int64_t n = 1 << 15;
  const auto x = normal(n);
  std::vector<float> y(x);
  for (auto _ : state) {
    if (state.range(0) == 0) kernels::exp_row(x.data(), y.data(), n);
    if (state.range(0) == 1)
      kernels::swiglu_forward({.gate = x.data(), .up = x.data(), .out = y.data()}, 0, n);
    if (state.range(0) == 2)
      kernels::rms_norm_forward({.x = y.data(), .weight = x.data(), .y = y.data(), .cols = n}, 0, 1);
    benchmark::DoNotOptimize(y.data());
  }
  state.SetLabel(state.range(0) == 0 ? "exp" : state.range(0) == 1 ? "swiglu" : "rms_norm");
  state.counters["elements"] = rate(static_cast<double>(n));
}
BENCHMARK(pointwise)->DenseRange(0, 2)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
