#include "train/config.h"

#include <algorithm>
#include <charconv>
#include <type_traits>

#include "base/check.h"
#include "io/file_text.h"
#include "io/json_reader.h"
#include "train/schedule.h"

namespace beacon {
namespace {

constexpr auto kBad = ErrorCode::kInvalidArgument;

// Calls visit(reference to the field's value).
template <typename Config, typename Visit>
void with_value(Config& config, const ConfigField& field, const Visit& visit) {
  std::visit([&](auto member) { visit(config.*member); }, field.member);
}

void read_field(const JsonReader& reader, const ConfigField& field, TrainConfig& config) {
  const auto whole = [](double x) { return static_cast<int64_t>(x); };
  with_value(config, field, [&](auto& value) {
    using T = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<T, int64_t>) {
      value = reader.integer(field.key, whole(field.low), whole(field.high)).value_or(value);
    } else if constexpr (std::is_same_v<T, double>) {
      value = reader.number(field.key, field.low, field.high).value_or(value);
    } else if constexpr (std::is_same_v<T, bool>) {
      value = reader.boolean(field.key).value_or(value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      value = reader.string(field.key).value_or(value);
    } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
      value = reader.integers(field.key, whole(field.low), whole(field.high)).value_or(value);
    } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      value = reader.strings(field.key).value_or(value);
    } else if (reader.mentions(field.key)) {
      value = reader.number(field.key, field.low, field.high);
    }
  });
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size() && !text.empty();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

double parse_number(const ConfigField& field, const std::string& text, bool whole) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool number = error == std::errc() && end == text.data() + text.size();
  require(number && value >= field.low && value <= field.high &&
              (!whole || value == static_cast<double>(static_cast<int64_t>(value))),
          kBad, "{}: expected {} from {:g} to {:g}, found '{}'", field.key, whole ? "an integer" : "a number",
          field.low, field.high, text);
  return value;
}

Json to_value(const TrainConfig& config, const ConfigField& field) {
  Json out;
  with_value(config, field, [&](const auto& value) {
    using T = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<T, std::optional<double>>) {
      out = value ? Json(*value) : Json(nullptr);
    } else {
      out = value;
    }
  });
  return out;
}

void check_choice(const std::string& key, const std::string& value,
                  std::initializer_list<const char*> choices) {
  std::string names;
  for (const char* choice : choices) {
    if (value == choice) return;
    names += (names.empty() ? "" : ", ") + std::string(choice);
  }
  fail(kBad, "{}: expected one of {}, found '{}'", key, names, value);
}

}  // namespace

TrainConfig parse_train_config(const std::string& json, const std::string& what) {
  const Json object = parse_json_object(json, what);
  for (const auto& [key, value] : object.items()) {
    const auto& fields = config_fields();
    const bool known =
        std::any_of(fields.begin(), fields.end(), [&key = key](const auto& f) { return key == f.key; });
    require(known, ErrorCode::kBadFile,
            "{}: the key '{}' is not known; see 'beacon train --help' for all of them", what, key);
  }
  TrainConfig config;
  const JsonReader reader(object, what);
  for (const ConfigField& field : config_fields()) read_field(reader, field, config);
  return config;
}

TrainConfig load_train_config(const std::filesystem::path& file) {
  TrainConfig config = parse_train_config(read_text(file), file.string());
  resolve_paths(config, file.parent_path());
  return config;
}

void resolve_paths(TrainConfig& config, const std::filesystem::path& folder) {
  const auto resolve = [&folder](std::string& path) {
    if (!path.empty() && std::filesystem::path(path).is_relative())
      path = (folder / path).lexically_normal().string();
  };
  for (std::string* path : {&config.model, &config.adapter, &config.run, &config.cache}) resolve(*path);
  for (auto* list : {&config.data, &config.valid_data}) std::for_each(list->begin(), list->end(), resolve);
}

void set_field(TrainConfig& config, const ConfigField& field, const std::string& text) {
  with_value(config, field, [&](auto& value) {
    using T = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<T, int64_t>) {
      value = static_cast<int64_t>(parse_number(field, text, true));
    } else if constexpr (std::is_same_v<T, double>) {
      value = parse_number(field, text, false);
    } else if constexpr (std::is_same_v<T, bool>) {
      require(text == "true" || text == "false", kBad, "{}: expected true or false, found '{}'", field.key,
              text);
      value = text == "true";
    } else if constexpr (std::is_same_v<T, std::string>) {
      value = text;
    } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
      value.clear();
      for (const std::string& part : split(text))
        value.push_back(static_cast<int64_t>(parse_number(field, part, true)));
    } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      value = split(text);
    } else {
      value = text == "none" ? std::nullopt : std::optional<double>(parse_number(field, text, false));
    }
  });
}

std::string to_json(const TrainConfig& config) {
  OrderedJson object = OrderedJson::object();
  for (const ConfigField& field : config_fields()) object[field.key] = to_value(config, field);
  return object.dump(2) + "\n";
}

std::string field_to_json(const TrainConfig& config, const ConfigField& field) {
  return to_value(config, field).dump();
}

void validate(const TrainConfig& c) {
  require(!c.model.empty(), kBad,
          "model: expected a Hugging Face folder or GGUF file, found none; name it with --model "
          "or in the file of --config (see beacon train --help)");
  require(!c.run.empty(), kBad, "run: expected a folder for log, checkpoints and adapter, found none");
  require(!c.data.empty(), kBad, "data: expected files or folders to learn from, found none");
  require(c.max_length >= c.min_length, kBad, "max_length: expected at least min_length ({}), found {}",
          c.min_length, c.max_length);
  check_choice("long_text", c.long_text, {"cut", "truncate", "drop"});
  check_choice("long_dialogue", c.long_dialogue, {"drop", "shorten"});
  check_choice("grouping", c.grouping, {"none", "strides", "length"});
  check_choice("placement", c.placement, {"interleave", "append"});
  check_choice("attention", c.attention,
               {"full-coverage", "step-expansion", "segmentation", "echo", "chosen-echo"});
  check_choice("ratio_mix", c.ratio_mix, {"step-random", "instance-random", "sequence"});
  check_choice("embed_init", c.embed_init, {"eos", "bos"});
  check_choice("compute", c.compute, {"auto", "f32", "bf16"});
  check_choice("recording", c.recording, {"fused", "plain"});
  for (const std::string& name : c.parameters) check_choice("parameters", name, {"q", "k", "v", "o", "mlp"});
  for (const std::string& name : c.lora_targets) check_choice("lora_targets", name, {"q", "k", "v", "o"});
  require(!c.reset_gate || c.gate, kBad, "reset_gate: expected a gate to begin at, found none");
  require(c.lora_rank == 0 || !c.lora_targets.empty(), kBad,
          "lora_targets: expected at least one of q, k, v, o for lora_rank {}, found none", c.lora_rank);
  require(c.lora_rank == 0 || c.lora_alpha > 0, kBad, "lora_alpha: expected a number above 0, found {:g}",
          c.lora_alpha);
  schedule_from_string(c.schedule);
  require(!c.ratios.empty(), kBad, "ratios: expected at least one, found none");
  require(c.ratio_weights.empty() || c.ratio_weights.size() == c.ratios.size(), kBad,
          "ratio_weights: expected one for each of {} ratios, found {}", c.ratios.size(),
          c.ratio_weights.size());
  require(c.next_token_weight > 0 || c.distillation_weight > 0, kBad,
          "next_token_weight, distillation_weight: expected one of them above 0, found both 0");
  require(c.valid_data.empty() || !c.valid_ratios.empty(), kBad,
          "valid_ratios: expected at least one, found none");
  require(c.steps == 0 || c.warmup <= c.steps, kBad, "warmup: expected at most the {} steps, found {}",
          c.steps, c.warmup);
}

}  // namespace beacon
