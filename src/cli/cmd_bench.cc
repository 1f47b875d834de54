#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "cli/bench_run.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/machine_ceiling.h"
#include "cli/option_helpers.h"
#include "cli/options_beacon.h"
#include "cli/options_model.h"
#include "cli/options_output.h"
#include "cli/terminal.h"
#include "kernels/isa.h"
#include "ops/thread_count.h"

namespace beacon::cli {
namespace {

struct BenchArgs {
  ModelOptions model;
  BenchOptions bench;
  OutputOptions output;
  bool decode = false;
};

std::string giga(double per_s) { return fmt::format("{:.1f} G", per_s / 1e9); }

// What bounds a measured speed: reading weights and memory for each token, or multiplying.
struct Bound {
  double rate;   // reached, a second
  double share;  // of the ceiling; 0 where that is not known
  const char* unit;
  const char* ceiling;
};

Bound bound_of(const BenchArgs& args, const ModelInfo& info, const MachineCeiling& ceiling,
               const BenchResult& result, int64_t bytes) {
  if (args.decode) {
    const double steps_per_s = result.median() / static_cast<double>(args.bench.sequences);
    const double rate = static_cast<double>(bytes) * steps_per_s;
    return {rate, rate / ceiling.read_bytes, "B/s", "read_bytes_per_s"};
  }
  const double rate = result.flops * result.median() / static_cast<double>(result.length);
  const double peak = ceiling.flops(info.compute);
  return {rate, peak > 0 ? rate / peak : 0.0, "FLOP/s",
          info.compute == "bf16" ? "bf16_flops_per_s" : "f32_flops_per_s"};
}

void print_result(const BenchArgs& args, const ModelInfo& info, const MachineCeiling& ceiling,
                  const BenchResult& result) {
  const Ledger& ledger = result.ledger;
  const int64_t memory = ledger.sink_bytes + ledger.beacon_bytes + ledger.raw_bytes;
  // Read in a step: the weights once, every sequence's memory.
  const int64_t bytes = args.decode ? info.weight_bytes + args.bench.sequences * memory : memory;
  const Bound bound = bound_of(args, info, ceiling, result, bytes);
  if (!args.output.json) {
    print(fmt::format(
        "{:<8}{:>9} tokens {:>10.1f} tokens/s  ({:.1f} .. {:.1f}, {} runs)  {:>10} {:>8} {}{}\n",
        args.decode ? "decode" : "prefill", result.length, result.median(), result.tokens_per_s.front(),
        result.tokens_per_s.back(), result.tokens_per_s.size(), human_bytes(static_cast<double>(bytes)),
        giga(bound.rate), bound.unit, bound.share > 0 ? fmt::format("  {:.0f} %", 100 * bound.share) : ""));
    return;
  }
  const BenchOptions& bench = args.bench;
  nlohmann::ordered_json line = {{"bench", args.decode ? "decode" : "prefill"},
                                 {"length", result.length},
                                 {"tok_s", result.median()},
                                 {"tok_s_min", result.tokens_per_s.front()},
                                 {"tok_s_max", result.tokens_per_s.back()},
                                 {"runs", result.tokens_per_s.size()},
                                 {"rate", bound.rate},
                                 {"ceiling", bound.ceiling},
                                 {"share", bound.share},
                                 {"cpu", ceiling.cpu},
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
  if (args.decode) {
    line["decode_tokens"] = bench.decode_tokens;
    line["sequences"] = bench.sequences;
  }
  print_json(line);
}

int run_bench(const BenchArgs& args) {
  const InterruptGuard interrupt;
  const auto model = Model::load(args.model);
  const MachineCeiling ceiling = known_ceiling(ceiling_file(), model->info().device);
  for (const int64_t length : args.bench.lengths) {
    ProgressBar bar(fmt::format("{} tokens", length), args.output.progress);
    const ProgressCallback go_on = [&](const Progress& progress) {
      if (progress.tokens_total > 0) bar.update(progress);
      return !interrupt.requested();
    };
    const auto measure = args.decode ? bench_decode : bench_prefill;
    print_result(args, model->info(), ceiling, measure(model, args.bench, length, go_on));
  }
  return kExitOk;
}

struct MachineArgs {
  std::string device = "cpu";
  int threads = 0;
  OutputOptions output;
};

int run_machine(const MachineArgs& args) {
  kernels::choose_isa();
  if (args.threads > 0) ops::set_num_threads(args.threads);
  const MachineCeiling c =
      args.device == "cpu" ? measure_ceiling(ceiling_file()) : device_ceiling(args.device);
  if (args.output.json) {
    print_json({{"bench", "machine"},
                {"cpu", c.cpu},
                {"isa", c.isa},
                {"threads", c.threads},
                {"read_bytes_per_s", c.read_bytes},
                {"f32_flops_per_s", c.f32_flops},
                {"bf16_flops_per_s", c.bf16_flops}});
    return kExitOk;
  }
  print(fmt::format("{}, {}, {} threads\n", c.cpu, c.isa, c.threads));
  print(fmt::format("{:<28}{:>8} B/s\n", "plain reading of memory", giga(c.read_bytes)));
  print(fmt::format("{:<28}{:>8} FLOP/s\n", "f32 product of libtorch", giga(c.f32_flops)));
  if (c.bf16_flops > 0)
    print(fmt::format("{:<28}{:>8} FLOP/s\n", "bf16 product of libtorch", giga(c.bf16_flops)));
  return kExitOk;
}

void add_machine(CLI::App& bench, Action& action) {
  auto args = std::make_shared<MachineArgs>();
  CLI::App& command =
      *bench.add_subcommand("machine", "Measure the ceilings again: reading of memory and matrix products");
  command.add_option("--device", args->device, "What is measured: cpu, cuda or cuda:N")
      ->type_name("DEVICE")
      ->capture_default_str();
  command.add_option("--threads", args->threads, "Threads; 0 = all cores")
      ->type_name("N")
      ->check(whole_number<int>(0, 1024))
      ->capture_default_str();
  add_json_option(command, args->output);
  command.callback([args, &action] { action = [args] { return run_machine(*args); }; });
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
  add_attention_option(command, options.attention);
  command.add_flag("--no-beacons", options.no_beacons, "A plain model: every token stays raw");
  add_memory_type_option(command, options.memory_type);
  value("--runs", options.runs, "Measured runs")->check(whole_number<int>(1));
  value("--warm-up", options.warm_up, "Runs before those, not measured")->check(whole_number<int>(0));
  if (decode) {
    value("--decode-tokens", options.decode_tokens, "Tokens to generate")
        ->check(whole_number<int64_t>(2, int64_t{1} << 30));
    value("--sequences", options.sequences, "Conversations that answer together; tokens/s is that of all")
        ->check(whole_number<int64_t>(1, 1024));
  }
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
  add_machine(bench, action);
}

}  // namespace beacon::cli
