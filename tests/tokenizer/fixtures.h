#pragma once
// What the tests of tokenizers share: the data of scripts/make_tokenizer_fixtures.py and its text.
#include <beacon/tokenizer.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace beacon::test {

using Json = nlohmann::json;

std::filesystem::path tokenizer_data(const std::string& name);
std::string read_text(const std::filesystem::path& path);
Json read_json(const std::string& name);

// The script's generator: a 64-bit linear congruence chooses pieces until there are enough bytes.
std::string build_text(size_t bytes, uint64_t seed);
// The script's test text, 1.1 MB.
const std::string& long_text();

// FNV-1a over whole ids, one value per 65536 of them.
std::vector<std::string> hash_ids(std::span<const int32_t> ids);

// Compares count and hashes of an expectation with ids; the message names the first chunk that differs.
void expect_hashes(const Json& expected, std::span<const int32_t> ids);

// Compares every case: ids, decoded text where it is given, and the stream decoder with decode().
void expect_cases(const std::shared_ptr<const Tokenizer>& tokenizer, const Json& cases,
                  bool compare_decoded = true);

std::shared_ptr<const Tokenizer> tokenizer_from_json(const std::string& text);
std::shared_ptr<const Tokenizer> tokenizer_from_model(const std::string& name);

}  // namespace beacon::test
