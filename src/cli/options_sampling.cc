#include "cli/options_sampling.h"

#include "cli/option_helpers.h"

namespace beacon::cli {

void add_sampling_options(CLI::App& command, GenerateOptions& options) {
  const auto value = [&](const char* name, auto& field, const char* type, const char* description) {
    return command.add_option(name, field, description)
        ->type_name(type)
        ->capture_default_str()
        ->group("Answer");
  };
  SamplingOptions& sampling = options.sampling;
  value("-n,--max-new-tokens", options.max_new_tokens, "N", "Longest answer, in tokens")
      ->check(whole_number<int64_t>(1));
  value("--temperature", sampling.temperature, "X", "0 takes the most probable token");
  value("--top-k", sampling.top_k, "N", "Keep the k most probable tokens; 0 = all");
  value("--top-p", sampling.top_p, "P", "Keep the fewest tokens that reach this mass; 1 = all");
  value("--min-p", sampling.min_p, "P",
        "Drop tokens below this share of the best one's probability; 0 = none");
  value("--repetition-penalty", sampling.repetition_penalty, "X", "Makes seen tokens less likely; 1 = off");
  value("--repetition-window", sampling.repetition_window, "N",
        "How many of the last tokens count as seen; 0 = all");
  value("--seed", sampling.seed, "N", "Seed of the sampler")->check(whole_number<uint64_t>(0));
  command.add_option("--stop", options.stop, "End the answer before this text; may be given several times")
      ->type_name("TEXT")
      ->allow_extra_args(false)
      ->group("Answer");
  command.add_flag("--ignore-eos", options.ignore_eos, "Go on past end-of-sequence tokens")->group("Answer");
}

}  // namespace beacon::cli
