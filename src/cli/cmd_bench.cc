#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "cli/bench_run.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/option_helpers.h"
#include "cli/options_model.h"
#include "cli/options_output.h"
#include "cli/terminal.h"

namespace beacon::cli {
namespace {

struct BenchArgs {
  ModelOptions model;
  BenchOptions bench;
  OutputOptions output;
  bool decode = false;
};

void print_result(const BenchArgs& args, const ModelInfo& info, const BenchResult& result) {
  const Ledger& ledger = result.ledger;
  const int64_t memory = ledger.sink_bytes + ledger.beacon_bytes + ledger.raw_bytes;
  const int64_t bytes = args.decode ? info.weight_bytes + memory : memory;
  if (!args.output.json) {
    print(fmt::format(
        "{:<8}{:>9} tokens {:>10.1f} tokens/s  ({:.1f} .. {:.1f}, {} runs)  {:>10} {:>10.3g} FLOP/s\n",
        args.decode ? "decode" : "prefill", result.length, result.median(), result.tokens_per_s.front(),
        result.tokens_per_s.back(), result.tokens_per_s.size(), human_bytes(static_cast<double>(bytes)),
        result.flops * result.median() / (args.decode ? 1.0 : static_cast<double>(result.length))));
    return;
  }
  const BenchOptions& bench = args.bench;
  nlohmann::ordered_json line = {{"bench", args.decode ? "decode" : "prefill"},
                                 {"length", result.length},
                                 {"tok_s", result.median()},
                                 {"tok_s_min", result.tokens_per_s.front()},
                                 {"tok_s_max", result.tokens_per_s.back()},
                                 {"runs", result.tokens_per_s.size()},
                                 {"bytes", bytes},
                                 {"flops", result.flops},
                                 {"weight_bytes", info.weight_bytes},
                                 {"memory_bytes", memory},
                                 {"memory_rows", ledger.sink_rows + ledger.beacon_rows + ledger.raw_rows},
                                 {"threads", info.threads},
                                 {"isa", info.isa},
                                 {"compute", info.compute},
                                 {"window", bench.window},
                                 {"stride", bench.stride > 0 ? bench.stride : bench.window},
                                 {"ratio", bench.ratio},
                                 {"sink", bench.sink},
                                 {"beacons", !bench.no_beacons}};
  if (args.decode) line["decode_tokens"] = bench.decode_tokens;
  print_json(line);
}

int run_bench(const BenchArgs& args) {
  const InterruptGuard interrupt;
  const auto model = Model::load(args.model);
  for (const int64_t length : args.bench.lengths) {
    ProgressBar bar(fmt::format("{} tokens", length), args.output.progress);
    const ProgressCallback go_on = [&](const Progress& progress) {
      if (progress.tokens_total > 0) bar.update(progress);
      return !interrupt.requested();
    };
    const auto measure = args.decode ? bench_decode : bench_prefill;
    print_result(args, model->info(), measure(model, args.bench, length, go_on));
  }
  return kExitOk;
}

void add_bench(CLI::App& bench, Action& action, bool decode) {
  auto args = std::make_shared<BenchArgs>();
  args->decode = decode;
  CLI::App& command = *bench.add_subcommand(
      decode ? "decode" : "prefill",
      decode ? "Tokens a second of an answer, after reading" : "Tokens a second of reading");
  add_model_options(command, args->model);
  BenchOptions& options = args->bench;
  command.add_option("--length", options.lengths, "Tokens to read; several between commas")
      ->type_name("N[,N]")
      ->delimiter(',')
      ->check(whole_number<int64_t>(1))
      ->required();
  const auto value = [&](const char* name, auto& field, const char* description) {
    return command.add_option(name, field, description)->type_name("N")->capture_default_str();
  };
  value("--ratio", options.ratio, "Raw tokens per beacon; 0 keeps tokens raw")
      ->check(whole_number<int64_t>(0));
  value("--window", options.window, "Raw tokens condensed together");
  value("--stride", options.stride, "Raw tokens let go when a window is full; 0 = the window");
  value("--sink", options.sink, "First tokens kept for ever");
  command.add_flag("--no-beacons", options.no_beacons, "A plain model: every token stays raw");
  add_choice<MemoryType>(
      command, "--memory-type", options.memory_type,
      {{"auto", MemoryType::kAuto}, {"f32", MemoryType::kF32}, {"bf16", MemoryType::kBF16}},
      "Numbers in memory; auto = as computed");
  value("--runs", options.runs, "Measured runs, after one to warm up")->check(whole_number<int>(1));
  if (decode)
    value("--decode-tokens", options.decode_tokens, "Tokens to generate")
        ->check(whole_number<int64_t>(2, int64_t{1} << 30));
  value("--seed", options.seed, "Seed of the random tokens")->check(whole_number<uint64_t>(0));
  add_json_option(command, args->output);
  add_progress_option(command, args->output);
  command.callback([args, &action] { action = [args] { return run_bench(*args); }; });
}

}  // namespace

void add_bench_command(CLI::App& app, Action& action) {
  CLI::App& bench = *app.add_subcommand("bench", "Measure speed; median and spread of several runs");
  bench.require_subcommand(1);
  add_bench(bench, action, false);
  add_bench(bench, action, true);
}

}  // namespace beacon::cli
