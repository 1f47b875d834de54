#include "tokenizer/assemble.h"

#include <xxhash.h>

#include <algorithm>
#include <new>

#include "base/check.h"

namespace beacon {

FingerprintHash::FingerprintHash() : state_(XXH3_createState()) {
  if (state_ == nullptr) throw std::bad_alloc();
  XXH3_128bits_reset(static_cast<XXH3_state_t*>(state_));
}

FingerprintHash::~FingerprintHash() { XXH3_freeState(static_cast<XXH3_state_t*>(state_)); }

void FingerprintHash::add(std::string_view text) {
  add(uint64_t{text.size()});
  XXH3_128bits_update(static_cast<XXH3_state_t*>(state_), text.data(), text.size());
}

void FingerprintHash::add(uint64_t number) {
  unsigned char bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<unsigned char>(number >> (8 * i));
  XXH3_128bits_update(static_cast<XXH3_state_t*>(state_), bytes, sizeof(bytes));
}

std::string FingerprintHash::hex() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(static_cast<XXH3_state_t*>(state_));
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string hash_merges(std::span<const BpeMerge> merges) {
  FingerprintHash hash;
  for (const BpeMerge& merge : merges) {
    hash.add(static_cast<uint64_t>(merge.left));
    hash.add(static_cast<uint64_t>(merge.right));
  }
  return hash.hex();
}

void finish_tokenizer(Tokenizer::Impl& impl, std::string_view rules) {
  std::sort(impl.added.begin(), impl.added.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  std::vector<AddedToken> raw;
  std::vector<AddedToken> normalized;
  for (const AddedToken& token : impl.added) {
    if (!token.normalized) {
      raw.push_back(token);
    } else {
      normalized.push_back(token);
      normalized.back().text = impl.normalizer.apply(token.text);
    }
    if (token.special) impl.decode_table.entries.at(static_cast<size_t>(token.id)).special = true;
  }
  impl.raw_matcher = AddedTokenMatcher(std::move(raw));
  impl.normalized_matcher = AddedTokenMatcher(std::move(normalized));

  FingerprintHash hash;
  for (int32_t id = 0; id < impl.vocabulary.size(); ++id) {
    if (impl.vocabulary.text(id).empty()) continue;
    hash.add(static_cast<uint64_t>(id));
    hash.add(impl.vocabulary.text(id));
  }
  hash.add(rules);
  for (const AddedToken& token : impl.added)
    if (token.special) hash.add(static_cast<uint64_t>(token.id));
  impl.fingerprint = hash.hex();
}

void add_end_token(Tokenizer::Impl& impl, int32_t id) {
  const auto at = std::lower_bound(impl.eos.begin(), impl.eos.end(), id);
  if (at == impl.eos.end() || *at != id) impl.eos.insert(at, id);
}

void add_known_end_tokens(Tokenizer::Impl& impl) {
  constexpr std::string_view kEnds[] = {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>",
                                        "<|endoftext|>"};
  for (const std::string_view text : kEnds) {
    const auto id = impl.vocabulary.find(text);
    if (id && impl.decode_table.entries[static_cast<size_t>(*id)].special) add_end_token(impl, *id);
  }
}

int32_t check_token_id(const Tokenizer::Impl& impl, int64_t id, std::string_view name,
                       const std::string& what) {
  require(id >= 0 && id < impl.vocabulary.size(), ErrorCode::kBadFile, "{}: expected {} of 0 to {}, found {}",
          what, name, impl.vocabulary.size() - 1, id);
  return static_cast<int32_t>(id);
}

}  // namespace beacon
