#include "io/fingerprint.h"

#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "base/check.h"

namespace beacon {
namespace {

constexpr size_t kSampleBytes = 4096;

class Hash {
 public:
  Hash() : state_(XXH3_createState(), XXH3_freeState) {
    BEACON_CHECK(state_ != nullptr && XXH3_128bits_reset(state_.get()) == XXH_OK);
  }

  // The length goes first, so that neighbours cannot trade bytes.
  void add(std::span<const std::byte> bytes) {
    const uint64_t size = bytes.size();
    XXH3_128bits_update(state_.get(), &size, sizeof(size));
    if (size > 0) XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }

  std::string hex() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

 private:
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state_;
};

}  // namespace

std::string fingerprint_tensors(std::string_view essentials, std::span<const TensorView* const> tensors) {
  std::vector<const TensorView*> order(tensors.begin(), tensors.end());
  std::sort(order.begin(), order.end(),
            [](const TensorView* a, const TensorView* b) { return a->name < b->name; });
  Hash hash;
  hash.add(essentials);
  for (const TensorView* tensor : order) {
    hash.add(tensor->name);
    hash.add(dtype_info(tensor->dtype).name);
    hash.add(shape_to_string(tensor->shape));
    const auto bytes = tensor->bytes;
    if (bytes.size() <= 3 * kSampleBytes) {
      hash.add(bytes);
      continue;
    }
    hash.add(bytes.first(kSampleBytes));
    hash.add(bytes.subspan(bytes.size() / 2, kSampleBytes));
    hash.add(bytes.last(kSampleBytes));
  }
  return hash.hex();
}

}  // namespace beacon
