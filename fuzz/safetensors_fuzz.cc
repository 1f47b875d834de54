// Safetensors files. Whatever is accepted keeps its promises: tensors lie inside, apart, and have the bytes
// of their shape.
#include <beacon/error.h>

#include <cstdlib>
#include <span>

#include "io/safetensors.h"

namespace {

void check(const beacon::SafetensorsFile& file, std::span<const std::byte> input) {
  const std::byte* end = input.data();
  for (const beacon::TensorView& tensor : file.tensors()) {
    const auto expected = beacon::dtype_bytes(tensor.dtype, static_cast<uint64_t>(tensor.elements()));
    if (expected != tensor.bytes.size() || tensor.bytes.data() < end) std::abort();
    end = tensor.bytes.data() + tensor.bytes.size();
    if (end > input.data() + input.size() || file.find(tensor.name) == nullptr) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span input(reinterpret_cast<const std::byte*>(data), size);
  try {
    check(beacon::SafetensorsFile::parse(input), input);
  } catch (const beacon::Error& error) {
    if (error.code() == beacon::ErrorCode::kInternal) std::abort();
  }
  return 0;
}
