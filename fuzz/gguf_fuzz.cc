// GGUF files: the parser, every getter on every key, and the model's configuration.
#include <beacon/error.h>

#include <cstdlib>
#include <span>

#include "io/gguf.h"
#include "io/model_config.h"

namespace {

// Runs something that may refuse with any error but a broken invariant.
template <typename Action>
void attempt(const Action& action) {
  try {
    action();
  } catch (const beacon::Error& error) {
    if (error.code() == beacon::ErrorCode::kInternal) std::abort();
  }
}

void use(const beacon::GgufFile& file, std::span<const std::byte> input) {
  for (const beacon::TensorView& tensor : file.tensors()) {
    const auto expected = beacon::dtype_bytes(tensor.dtype, static_cast<uint64_t>(tensor.elements()));
    if (expected != tensor.bytes.size() || tensor.bytes.data() < input.data()) std::abort();
    if (tensor.bytes.data() + tensor.bytes.size() > input.data() + input.size()) std::abort();
  }
  for (const auto key : file.keys()) {
    attempt([&] { (void)file.get_int(key); });
    attempt([&] { (void)file.get_float(key); });
    attempt([&] { (void)file.get_bool(key); });
    attempt([&] { (void)file.get_string(key); });
    attempt([&] { (void)file.get_strings(key); });
    attempt([&] { (void)file.get_ints(key); });
    attempt([&] { (void)file.get_floats(key); });
  }
  attempt([&] { (void)beacon::parse_model_config(file).max_positions(); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span input(reinterpret_cast<const std::byte*>(data), size);
  attempt([&] { use(beacon::GgufFile::parse(input), input); });
  return 0;
}
