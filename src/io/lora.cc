#include "io/lora.h"

#include <charconv>
#include <set>

#include "base/check.h"

namespace beacon {
namespace {

constexpr std::string_view kPrefix = "base_model.model.model.layers.";
constexpr std::string_view kBlock = ".self_attn.";
constexpr std::string_view kMatrix = "_proj.lora_";
constexpr std::string_view kEnding = ".weight";

// Takes `part` off the front of `text`.
bool take(std::string_view& text, std::string_view part) {
  if (text.substr(0, part.size()) != part) return false;
  text.remove_prefix(part.size());
  return true;
}

// Takes one of `letters` off the front; 0 when there is none.
char take_letter(std::string_view& text, std::string_view letters) {
  if (text.empty() || letters.find(text.front()) == letters.npos) return 0;
  const char letter = text.front();
  text.remove_prefix(1);
  return letter;
}

}  // namespace

bool LoraConfig::has(char target) const {
  return (target == 'q' && q) || (target == 'k' && k) || (target == 'v' && v) || (target == 'o' && o);
}

void LoraConfig::add(char target) {
  BEACON_CHECK(kLoraTargets.find(target) != kLoraTargets.npos);
  (target == 'q' ? q : target == 'k' ? k : target == 'v' ? v : o) = true;
}

std::string LoraTensorName::text() const {
  return fmt::format("{}{}{}{}{}{}{}", kPrefix, layer, kBlock, target, kMatrix, matrix, kEnding);
}

std::string LoraTensorName::base() const {
  return fmt::format("model.layers.{}{}{}_proj.weight", layer, kBlock, target);
}

std::optional<LoraTensorName> parse_lora_tensor_name(std::string_view name) {
  LoraTensorName out;
  std::string_view rest = name;
  if (!take(rest, kPrefix)) return std::nullopt;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), out.layer);
  if (error != std::errc() || out.layer < 0) return std::nullopt;
  rest.remove_prefix(static_cast<size_t>(end - rest.data()));
  if (!take(rest, kBlock)) return std::nullopt;
  out.target = take_letter(rest, kLoraTargets);
  if (!take(rest, kMatrix)) return std::nullopt;
  out.matrix = take_letter(rest, "AB");
  if (rest != kEnding || out.text() != name) return std::nullopt;
  return out;
}

void check_lora_tensors(std::span<const TensorView> tensors, const std::optional<LoraConfig>& config,
                        const std::string& what) {
  std::set<std::string, std::less<>> names;
  for (const TensorView& tensor : tensors) names.insert(tensor.name);
  for (const TensorView& tensor : tensors) {
    const auto name = parse_lora_tensor_name(tensor.name);
    if (!name) continue;
    require(config && config->has(name->target), ErrorCode::kMismatch,
            "{}: tensor {} is there, but the configuration (beacon_lora) does not list {}_proj; add it or "
            "remove the tensor",
            what, tensor.name, name->target);
    const bool a = name->matrix == 'A';
    require(tensor.shape.size() == 2 && tensor.shape[a ? 0 : 1] == config->rank, ErrorCode::kMismatch,
            "{}: tensor {} should have shape {} for the rank {} of beacon_lora, found {}", what, tensor.name,
            a ? fmt::format("[{}, in]", config->rank) : fmt::format("[out, {}]", config->rank), config->rank,
            shape_to_string(tensor.shape));
    LoraTensorName other = *name;
    other.matrix = a ? 'B' : 'A';
    require(names.count(other.text()) == 1, ErrorCode::kMismatch,
            "{}: tensor {} is there without {}; expected both", what, tensor.name, other.text());
  }
}

}  // namespace beacon
