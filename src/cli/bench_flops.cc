#include "cli/bench_flops.h"

#include "window/planner.h"

namespace beacon::cli {
namespace {

double attention_flops(const ModelInfo& info) {
  return 4.0 * static_cast<double>(info.num_hidden_layers) * static_cast<double>(info.num_attention_heads) *
         static_cast<double>(info.head_dim);
}

WindowOptions window_options(const BenchOptions& options) {
  WindowOptions window;
  window.enabled = !options.no_beacons;
  window.window = options.window;
  window.stride = options.stride > 0 ? options.stride : options.window;
  window.ratio.ratios = {static_cast<int>(options.ratio)};
  window.sink = options.sink;
  return window;
}

}  // namespace

double prefill_flops(const ModelInfo& info, const BenchOptions& options, int64_t length) {
  Planner planner(window_options(options));
  planner.feed(length);
  double rows = 0, pairs = 0;
  while (const auto step = planner.next()) {
    const auto new_rows = static_cast<double>(step->num_rows());
    rows += new_rows;
    pairs += new_rows * static_cast<double>(step->memory_rows()) + new_rows * (new_rows + 1) / 2;
  }
  const auto matrices = static_cast<double>(info.num_parameters - info.vocab_size * info.hidden_size);
  return 2 * matrices * rows + attention_flops(info) * pairs;
}

double decode_flops(const ModelInfo& info, int64_t rows) {
  return 2 * static_cast<double>(info.num_parameters) + attention_flops(info) * static_cast<double>(rows);
}

}  // namespace beacon::cli
