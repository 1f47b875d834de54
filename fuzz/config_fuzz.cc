// config.json, generation_config.json and beacon_config.json. A beacon configuration that is accepted must
// survive being written and read.
#include <beacon/error.h>

#include <cstdlib>
#include <string_view>

#include "io/beacon_config.h"
#include "io/model_config.h"

namespace {

template <typename Action>
void attempt(const Action& action) {
  try {
    action();
  } catch (const beacon::Error& error) {
    if (error.code() == beacon::ErrorCode::kInternal) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  attempt([&] {
    beacon::ModelConfig config = beacon::parse_model_config(text);
    if (config.max_positions() <= 0 || config.num_attention_heads % config.num_key_value_heads != 0)
      std::abort();
    beacon::apply_generation_config(text, config);
  });
  std::optional<beacon::BeaconConfig> config;
  attempt([&] { config = beacon::parse_beacon_config(text); });
  if (config && !(beacon::parse_beacon_config(beacon::to_json(*config)) == config)) std::abort();
  return 0;
}
