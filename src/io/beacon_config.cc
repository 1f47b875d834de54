#include "io/beacon_config.h"

#include <algorithm>

#include "io/json_reader.h"
#include "io/model_config_checks.h"

namespace beacon {
namespace {

constexpr int64_t kMaxWindow = int64_t{1} << 30;
constexpr int64_t kMaxRatio = 1 << 20;
constexpr int64_t kMaxParallel = 1 << 10;
constexpr size_t kMaxRatios = 64;
constexpr double kMaxLoraAlpha = 1e9;
constexpr const char* kTargetModules = "a list out of q_proj, k_proj, v_proj, o_proj";
constexpr std::string_view kAttentionNames[] = {"full-coverage", "step-expansion", "segmentation", "echo",
                                                "chosen-echo"};
constexpr std::string_view kPlacementNames[] = {"interleave", "append"};
constexpr std::string_view kEmbedInitNames[] = {"eos", "bos"};
constexpr std::string_view kMixNames[] = {"step-random", "instance-random", "sequence", "adapt"};

template <typename Enum, size_t N>
Enum enum_from_string(const JsonReader& root, const std::string& key, const std::string_view (&names)[N],
                      Enum absent) {
  const auto text = root.string(key);
  if (!text) return absent;
  for (size_t i = 0; i < N; ++i) {
    if (names[i] == *text) return static_cast<Enum>(i);
  }
  fail(ErrorCode::kUnsupported, "{}: \"{}\" is \"{}\"; supported: {}", root.what(), key, text->substr(0, 40),
       fmt::join(names, ", "));
}

bool has_prefix(const Json& object, std::string_view prefix) {
  return std::any_of(object.items().begin(), object.items().end(),
                     [&](const auto& item) { return item.key().compare(0, prefix.size(), prefix) == 0; });
}

// Reads the keys of one prefix into a BeaconConfig.
class Parser {
 public:
  Parser(const JsonReader& root, std::string prefix) : root_(root), prefix_(std::move(prefix)) {}

  BeaconConfig parse() {
    config_.prefix = prefix_;
    config_.generation = generation();
    parse_sizes();
    parse_attention();
    parse_ratios();
    parse_params();
    config_.embed_init = enum_from_string(root_, key("embed_init"), kEmbedInitNames, BeaconEmbedInit::kEos);
    config_.skip_first = root_.integer(key("skip_first"), 0, kMaxWindow);
    config_.skip_last = root_.integer(key("skip_last"), 0, kMaxPositions);
    config_.gate = root_.boolean(key("gate")).value_or(false);
    return config_;
  }

 private:
  std::string key(std::string_view name) const { return prefix_ + std::string(name); }

  BeaconGeneration generation() const {
    if (const auto explicit_one = root_.integer(key("generation"), 1, 3)) {
      return static_cast<BeaconGeneration>(*explicit_one);
    }
    const Json* stride = root_.value(key("stride"));
    if ((stride != nullptr && stride->is_array()) || root_.has(key("attend_previous")))
      return BeaconGeneration::kFirst;
    return root_.has(key("pos")) ? BeaconGeneration::kThird : BeaconGeneration::kSecond;
  }

  void parse_sizes() {
    config_.window = root_.integer(key("window"), 1, kMaxWindow).value_or(1024);
    const auto strides = root_.integers(key("stride"), 1, kMaxWindow);
    if (strides && strides->empty()) root_.wrong(key("stride"), "a positive integer");
    require(!strides || strides->size() == 1, ErrorCode::kUnsupported,
            "{}: \"{}\" lists {} strides; only one is supported, set it to the one to use", root_.what(),
            key("stride"), strides ? strides->size() : 0);
    config_.stride = strides ? strides->front() : config_.window;
    config_.sink_size = root_.integer(key("sink_size"), 0, kMaxWindow).value_or(0);
    config_.parallel_window = root_.integer(key("parallel_window"), 1, kMaxParallel).value_or(1);
  }

  void parse_attention() {
    const bool third = config_.generation == BeaconGeneration::kThird;
    config_.placement = enum_from_string(root_, key("pos"), kPlacementNames,
                                         third ? BeaconPlacement::kInterleave : BeaconPlacement::kAppend);
    config_.attention =
        enum_from_string(root_, key("attn"), kAttentionNames,
                         third ? BeaconAttentionRule::kFullCoverage : BeaconAttentionRule::kStepExpansion);
    // One name, two meanings: in the first generation a beacon never sees others of its window, and the flag
    // is about earlier windows.
    if (config_.generation == BeaconGeneration::kFirst) {
      config_.attend_prev = false;
      config_.attend_previous_windows = root_.boolean(key("attend_previous")).value_or(true);
    } else {
      config_.attend_prev = root_.boolean(key("attend_prev")).value_or(true);
    }
  }

  void parse_ratios() {
    if (const auto ratios = root_.integers(key("ratio"), 0, kMaxRatio)) {
      if (ratios->empty() || ratios->size() > kMaxRatios) {
        root_.wrong(key("ratio"), fmt::format("a list of 1 to {} integers", kMaxRatios));
      }
      config_.ratios.assign(ratios->begin(), ratios->end());
    } else if (config_.generation == BeaconGeneration::kFirst) {
      config_.ratios = {8};
    }
    const auto mix = root_.string(key("ratio_mix"));
    if (!mix) return;
    try {
      config_.ratio_mix = ratio_mix_from_string(*mix, config_.adapt_tokens);
    } catch (const Error& error) {
      fail(error.code(), "{}: \"{}\": {}", root_.what(), key("ratio_mix"), error.what());
    }
  }

  void parse_params() {
    const auto list = root_.strings(key("param"));
    if (!list) return;
    BeaconParams& params = config_.params;
    for (const std::string& name : *list) {
      bool* flag = name == "q"     ? &params.q
                   : name == "k"   ? &params.k
                   : name == "v"   ? &params.v
                   : name == "o"   ? &params.o
                   : name == "mlp" ? &params.mlp
                                   : nullptr;
      if (flag == nullptr) root_.wrong(key("param"), "a list out of q, k, v, o, mlp");
      *flag = true;
    }
  }

  const JsonReader& root_;
  std::string prefix_;
  BeaconConfig config_;
};

// Keys as in PEFT's adapter_config.json. Variants that compute something else are refused.
LoraConfig parse_lora(const JsonReader& reader) {
  for (const char* variant : {"use_rslora", "use_dora"}) {
    require(!reader.boolean(variant).value_or(false), ErrorCode::kUnsupported,
            "{}: \"{}\" is set; expected plain LoRA", reader.what(), variant);
  }
  LoraConfig lora;
  lora.rank = reader.required_integer("r", 1, kMaxLoraRank);
  const auto alpha = reader.number("lora_alpha", 0, kMaxLoraAlpha);
  if (!alpha || *alpha == 0) reader.wrong("lora_alpha", "a number above 0");
  lora.alpha = *alpha;
  const auto modules = reader.strings("target_modules");
  if (!modules || modules->empty()) reader.wrong("target_modules", kTargetModules);
  for (const std::string& module : *modules) {
    const bool known = module.size() == 6 && module.ends_with("_proj") &&
                       kLoraTargets.find(module.front()) != kLoraTargets.npos;
    if (!known) reader.wrong("target_modules", kTargetModules);
    lora.add(module.front());
  }
  return lora;
}

OrderedJson lora_to_json(const LoraConfig& lora) {
  OrderedJson json = {{"peft_type", "LORA"}, {"r", lora.rank}, {"lora_alpha", lora.alpha}};
  json["target_modules"] = OrderedJson::array();
  for (const char target : kLoraTargets) {
    if (lora.has(target)) json["target_modules"].push_back(fmt::format("{}_proj", target));
  }
  return json;
}

void check_windows(const BeaconConfig& c, const std::string& what) {
  constexpr auto kCode = ErrorCode::kInvalidArgument;
  require(c.window >= 1 && c.window <= kMaxWindow, kCode, "{}: the window should be from 1 to {}, found {}",
          what, kMaxWindow, c.window);
  require(c.stride >= 1 && c.stride <= c.window, kCode,
          "{}: the stride should be from 1 to the window ({}), found {}", what, c.window, c.stride);
  require(c.sink_size >= 0 && c.sink_size <= c.stride, kCode,
          "{}: the sink should be from 0 to the stride ({}), found {}", what, c.stride, c.sink_size);
  require(c.parallel_window >= 1 && c.parallel_window <= kMaxParallel, kCode,
          "{}: parallel windows should be from 1 to {}, found {}", what, kMaxParallel, c.parallel_window);
}

void check_ratios(const BeaconConfig& c, const std::string& what) {
  constexpr auto kCode = ErrorCode::kInvalidArgument;
  require(!c.ratios.empty(), kCode, "{}: expected at least one ratio, found none", what);
  for (const int r : c.ratios) {
    require(r >= 0 && r <= kMaxRatio, kCode, "{}: a ratio should be from 0 to {}, found {}", what, kMaxRatio,
            r);
  }
  const std::string list = fmt::format("[{}]", fmt::join(c.ratios, ", "));
  require(*std::min_element(c.ratios.begin(), c.ratios.end()) <= c.stride, kCode,
          "{}: ratio {} is above the stride {}, so a window would have no beacon; use a smaller ratio or a "
          "larger stride",
          what, list, c.stride);
  const auto usable = [&c](int r) { return r == 0 || c.stride % r == 0; };
  require(c.ratios.size() == 1 || std::any_of(c.ratios.begin(), c.ratios.end(), usable), kCode,
          "{}: none of the ratios {} divides the stride {}; use divisors, or a single ratio", what, list,
          c.stride);
  require(c.ratio_mix != RatioMix::kAdapt || c.adapt_tokens >= 0, kCode, "{}: adapt-N needs N >= 0, found {}",
          what, c.adapt_tokens);
}

void check_combinations(const BeaconConfig& c, const std::string& what) {
  constexpr auto kCode = ErrorCode::kInvalidArgument;
  const bool interleave = c.placement == BeaconPlacement::kInterleave;
  const bool skips = c.skip_first.value_or(0) > 0 || c.skip_last.has_value();
  require(!(interleave && c.attention == BeaconAttentionRule::kSegmentation), kCode,
          "{}: segmentation attention needs the placement append, found interleave", what);
  require(!(interleave && c.attention == BeaconAttentionRule::kStepExpansion && c.attend_prev), kCode,
          "{}: interleaved step-expansion needs attend_prev false, found true", what);
  const bool echo = is_echo(c.attention);
  require(interleave || !echo, kCode, "{}: {} attention needs the placement interleave, found append", what,
          to_string(c.attention));
  require(c.parallel_window == 1 || !echo, kCode, "{}: {} attention needs one parallel window, found {}",
          what, to_string(c.attention), c.parallel_window);
  require(c.stride == c.window || !(interleave && c.attention == BeaconAttentionRule::kStepExpansion), kCode,
          "{}: interleaved step-expansion needs stride = window, found {} and {}", what, c.stride, c.window);
  require(c.stride == c.window || (!skips && c.parallel_window == 1), kCode,
          "{}: skip and parallel windows need stride = window, found {} and {}", what, c.stride, c.window);
  require(!skips || c.parallel_window == 1, kCode, "{}: skip needs one parallel window, found {}", what,
          c.parallel_window);
  require(c.skip_first.value_or(0) == 0 || c.sink_size == 0, kCode,
          "{}: skip_first needs a sink of 0, found {}", what, c.sink_size);
  require(c.parallel_window == 1 || std::count(c.ratios.begin(), c.ratios.end(), 0) == 0, kCode,
          "{}: parallel windows cannot keep tokens raw; remove the ratio 0", what);
  require(c.skip_first.value_or(0) >= 0 && c.skip_last.value_or(0) >= 0, kCode,
          "{}: skip counts should be 0 or more", what);
  if (c.skip_last) {
    const int64_t compressed = *c.skip_last - c.skip_first.value_or(0);
    require(compressed >= 0 && compressed % c.window == 0, kCode,
            "{}: skip_last minus skip_first should be a multiple of the window ({}), found {}", what,
            c.window, compressed);
  }
}

}  // namespace

bool is_echo(BeaconAttentionRule attention) {
  return attention == BeaconAttentionRule::kEcho || attention == BeaconAttentionRule::kChosenEcho;
}

std::string_view to_string(BeaconAttentionRule attention) {
  return kAttentionNames[static_cast<size_t>(attention)];
}
std::string_view to_string(BeaconPlacement placement) {
  return kPlacementNames[static_cast<size_t>(placement)];
}
std::string_view to_string(BeaconEmbedInit init) { return kEmbedInitNames[static_cast<size_t>(init)]; }

std::string ratio_mix_to_string(RatioMix mix, int64_t adapt_tokens) {
  if (mix == RatioMix::kAdapt) return fmt::format("adapt-{}", adapt_tokens);
  return std::string(kMixNames[static_cast<size_t>(mix)]);
}

RatioMix ratio_mix_from_string(std::string_view text, int64_t& adapt_tokens) {
  for (const RatioMix mix : {RatioMix::kStepRandom, RatioMix::kInstanceRandom, RatioMix::kSequence}) {
    if (text == kMixNames[static_cast<size_t>(mix)]) return mix;
  }
  constexpr std::string_view kAdapt = "adapt-";
  const auto digits =
      text.substr(0, kAdapt.size()) == kAdapt ? text.substr(kAdapt.size()) : std::string_view();
  const bool number =
      !digits.empty() && digits.size() <= 12 && digits.find_first_not_of("0123456789") == digits.npos;
  require(number, ErrorCode::kUnsupported,
          "ratio mix \"{}\" is not supported; supported: step-random, instance-random, sequence, adapt-N",
          text.substr(0, 40));
  adapt_tokens = 0;
  for (const char digit : digits) adapt_tokens = adapt_tokens * 10 + (digit - '0');
  return RatioMix::kAdapt;
}

bool BeaconConfig::operator==(const BeaconConfig& o) const {
  return generation == o.generation && window == o.window && stride == o.stride && attention == o.attention &&
         placement == o.placement && attend_prev == o.attend_prev &&
         attend_previous_windows == o.attend_previous_windows && ratios == o.ratios &&
         ratio_mix == o.ratio_mix && (ratio_mix != RatioMix::kAdapt || adapt_tokens == o.adapt_tokens) &&
         sink_size == o.sink_size && parallel_window == o.parallel_window && params == o.params &&
         embed_init == o.embed_init && skip_first == o.skip_first && skip_last == o.skip_last &&
         gate == o.gate && lora == o.lora && rope == o.rope;
}

std::optional<BeaconConfig> parse_beacon_config(std::string_view json, const std::string& what) {
  const Json object = parse_json_object(json, what);
  const bool beacon = has_prefix(object, "beacon_");
  const bool ultragist = has_prefix(object, "ultragist_");
  if (!beacon && !ultragist) return std::nullopt;
  require(!(beacon && ultragist), ErrorCode::kBadFile,
          "{}: expected keys with one prefix, found both beacon_ and ultragist_", what);
  const JsonReader root(object, what);
  BeaconConfig config = Parser(root, beacon ? "beacon_" : "ultragist_").parse();
  if (const Json* lora = root.value("beacon_lora")) {
    if (!lora->is_object()) root.wrong("beacon_lora", "an object");
    config.lora = parse_lora(JsonReader(*lora, what + ": beacon_lora"));
  }
  if (const Json* rope = root.value("beacon_rope")) {
    if (!rope->is_object()) root.wrong("beacon_rope", "an object");
    const JsonReader dictionary(*rope, what + ": beacon_rope");
    if (!dictionary.has("rope_theta")) dictionary.wrong("rope_theta", "a positive number");
    config.rope = parse_rope_dictionary(dictionary, 10000.0, 0);
  }
  try {
    validate(config, what);
  } catch (const Error& error) {
    throw Error(ErrorCode::kBadFile, error.what());
  }
  return config;
}

void validate(const BeaconConfig& config, const std::string& what) {
  check_windows(config, what);
  check_ratios(config, what);
  check_combinations(config, what);
}

std::string to_json(const BeaconConfig& c) {
  OrderedJson json;
  json["beacon_generation"] = static_cast<int>(c.generation);
  json["beacon_window"] = c.window;
  json["beacon_stride"] = c.stride;
  json["beacon_attn"] = to_string(c.attention);
  json["beacon_pos"] = to_string(c.placement);
  if (c.generation == BeaconGeneration::kFirst) {
    json["beacon_attend_previous"] = c.attend_previous_windows;
  } else {
    json["beacon_attend_prev"] = c.attend_prev;
  }
  json["beacon_ratio"] = c.ratios;
  json["beacon_ratio_mix"] = ratio_mix_to_string(c.ratio_mix, c.adapt_tokens);
  json["beacon_sink_size"] = c.sink_size;
  json["beacon_parallel_window"] = c.parallel_window;
  json["beacon_param"] = OrderedJson::array();
  const std::pair<bool, const char*> params[] = {
      {c.params.q, "q"}, {c.params.k, "k"}, {c.params.v, "v"}, {c.params.o, "o"}, {c.params.mlp, "mlp"}};
  for (const auto& [present, name] : params) {
    if (present) json["beacon_param"].push_back(name);
  }
  json["beacon_embed_init"] = to_string(c.embed_init);
  if (c.skip_first) json["beacon_skip_first"] = *c.skip_first;
  if (c.skip_last) json["beacon_skip_last"] = *c.skip_last;
  json["beacon_gate"] = c.gate;
  if (c.lora) json["beacon_lora"] = lora_to_json(*c.lora);
  if (c.rope) json["beacon_rope"] = rope_to_json(*c.rope);
  return json.dump(2);
}

}  // namespace beacon
