// Rope dictionaries of config.json in their three spellings, and the checks on them.
#include <cmath>

#include "io/model_config_checks.h"

namespace beacon {
namespace {

constexpr std::string_view kKindNames[] = {"default", "linear", "dynamic", "yarn", "llama3"};

// "type" is the older spelling of "rope_type"; configurations that carry both must agree.
RopeKind parse_kind(const JsonReader& dictionary) {
  const auto modern = dictionary.string("rope_type");
  const auto legacy = dictionary.string("type");
  require(!modern || !legacy || *modern == *legacy, ErrorCode::kBadFile,
          "{}: \"rope_type\" is \"{}\" but \"type\" is \"{}\"; expected the same", dictionary.what(),
          modern.value_or(""), legacy.value_or(""));
  if (!modern && !legacy) dictionary.wrong("rope_type", "a string");
  try {
    return rope_kind_from_string(modern ? *modern : *legacy);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", dictionary.what(), error.what());
  }
}

double required_number(const JsonReader& reader, const std::string& key, double low, double high) {
  if (!reader.has(key)) reader.wrong(key, fmt::format("a number from {} to {}", low, high));
  return *reader.number(key, low, high);
}

void parse_yarn(const JsonReader& dictionary, RopeConfig& rope) {
  rope.beta_fast = dictionary.number("beta_fast", 1e-6, 1e6).value_or(rope.beta_fast);
  rope.beta_slow = dictionary.number("beta_slow", 1e-6, 1e6).value_or(rope.beta_slow);
  rope.attention_factor = dictionary.number("attention_factor", 1e-6, 1e6);
  rope.mscale = dictionary.number("mscale", 0, 1e6);
  rope.mscale_all_dim = dictionary.number("mscale_all_dim", 0, 1e6);
  rope.truncate = dictionary.boolean("truncate").value_or(true);
  rope.original_beacon_yarn = dictionary.string("yarn_formula").value_or("transformers") == "beacon";
}

}  // namespace

std::string_view to_string(RopeKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

RopeKind rope_kind_from_string(std::string_view name) {
  for (size_t i = 0; i < std::size(kKindNames); ++i) {
    if (kKindNames[i] == name) return static_cast<RopeKind>(i);
  }
  // GGUF's name for no scaling.
  if (name == "none") return RopeKind::kDefault;
  fail(ErrorCode::kUnsupported, "rope kind \"{}\" is not supported; supported: {}", name.substr(0, 40),
       fmt::join(kKindNames, ", "));
}

void check_rope_config(const RopeConfig& rope, const std::string& what) {
  require(rope.theta > 0 && rope.theta <= kMaxRopeTheta, ErrorCode::kBadFile,
          "{}: rope_theta should be above 0 and at most {}, found {}", what, kMaxRopeTheta, rope.theta);
  require(rope.factor >= 1 && rope.factor <= kMaxRopeFactor, ErrorCode::kBadFile,
          "{}: the rope factor should be from 1 to {}, found {}", what, kMaxRopeFactor, rope.factor);
  if (rope.kind == RopeKind::kLlama3) {
    require(rope.low_freq_factor > 0 && rope.low_freq_factor < rope.high_freq_factor, ErrorCode::kBadFile,
            "{}: expected 0 < low_freq_factor < high_freq_factor, found {} and {}", what,
            rope.low_freq_factor, rope.high_freq_factor);
  }
  if (rope.kind == RopeKind::kYarn) {
    require(rope.theta > 1, ErrorCode::kBadFile, "{}: yarn needs a rope_theta above 1, found {}", what,
            rope.theta);
    require(rope.beta_slow < rope.beta_fast, ErrorCode::kBadFile,
            "{}: expected beta_slow < beta_fast, found {} and {}", what, rope.beta_slow, rope.beta_fast);
  }
}

RopeConfig parse_rope_dictionary(const JsonReader& dictionary, double theta,
                                 int64_t max_position_embeddings) {
  RopeConfig rope;
  rope.kind = parse_kind(dictionary);
  rope.theta = dictionary.number("rope_theta", 1e-6, kMaxRopeTheta).value_or(theta);
  if (const auto partial = dictionary.number("partial_rotary_factor", 0, 1)) {
    require(*partial == 1.0, ErrorCode::kUnsupported, "{}: partial_rotary_factor {} is not supported, only 1",
            dictionary.what(), *partial);
  }
  if (rope.kind == RopeKind::kDefault) return rope;

  rope.factor = required_number(dictionary, "factor", 1, kMaxRopeFactor);
  if (rope.kind == RopeKind::kLinear) return rope;
  const auto original = dictionary.integer("original_max_position_embeddings", 1, kMaxPositions);
  // Only llama3 always needs it; the others fall back on the model's positions, where there is a model.
  if (!original && (rope.kind == RopeKind::kLlama3 || max_position_embeddings == 0)) {
    dictionary.wrong("original_max_position_embeddings", "a positive integer");
  }
  if (rope.kind == RopeKind::kLlama3) {
    rope.low_freq_factor = required_number(dictionary, "low_freq_factor", 1e-6, 1e6);
    rope.high_freq_factor = required_number(dictionary, "high_freq_factor", 1e-6, 1e6);
  }
  if (rope.kind == RopeKind::kYarn) parse_yarn(dictionary, rope);
  rope.original_max_position_embeddings = original.value_or(max_position_embeddings);
  check_rope_config(rope, dictionary.what());
  return rope;
}

RopeConfig parse_rope(const JsonReader& root, double default_theta, int64_t max_position_embeddings) {
  const double theta = root.number("rope_theta", 1e-6, kMaxRopeTheta).value_or(default_theta);
  // transformers 5 writes rope_parameters, older versions rope_scaling beside rope_theta.
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const Json* dictionary = root.value(key);
    if (dictionary == nullptr) continue;
    if (!dictionary->is_object()) root.wrong(key, "an object or null");
    return parse_rope_dictionary(JsonReader(*dictionary, root.what() + ": " + key), theta,
                                 max_position_embeddings);
  }
  RopeConfig rope;
  rope.theta = theta;
  return rope;
}

Json rope_to_json(const RopeConfig& rope) {
  Json json = {{"rope_type", to_string(rope.kind)}, {"rope_theta", rope.theta}};
  if (rope.kind == RopeKind::kDefault) return json;
  json["factor"] = rope.factor;
  if (rope.kind == RopeKind::kLinear) return json;
  json["original_max_position_embeddings"] = rope.original_max_position_embeddings;
  if (rope.kind == RopeKind::kYarn) {
    json["beta_fast"] = rope.beta_fast;
    json["beta_slow"] = rope.beta_slow;
    json["truncate"] = rope.truncate;
    json["yarn_formula"] = rope.original_beacon_yarn ? "beacon" : "transformers";
    if (rope.attention_factor) json["attention_factor"] = *rope.attention_factor;
    if (rope.mscale) json["mscale"] = *rope.mscale;
    if (rope.mscale_all_dim) json["mscale_all_dim"] = *rope.mscale_all_dim;
  }
  if (rope.kind == RopeKind::kLlama3) {
    json["low_freq_factor"] = rope.low_freq_factor;
    json["high_freq_factor"] = rope.high_freq_factor;
  }
  return json;
}

}  // namespace beacon
