#pragma once
// A small memory, and a writer of memory files made from docs/memory_format.md alone, which can also write
// wrong ones.
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "memory/memory_file.h"

namespace beacon::testing {

using Json = nlohmann::json;
using Buffer = std::vector<std::byte>;

template <typename T>
Buffer to_bytes(const std::vector<T>& values) {
  Buffer bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

struct SmallBlock {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  Buffer bytes;
};

// 14 tokens read: 1 sink row, 3 beacon rows, an open window of 2 tokens and 1 beacon; 2 layers, 2 heads of 3.
inline MemoryManifest small_manifest() {
  MemoryManifest m;
  m.writer = "beacon test";
  m.base = "base-1";
  m.adapter = "adapter-1";
  m.tokenizer = "tokenizer-1";
  m.rope = {{"theta", "100000"}, {"type", "default"}};
  m.window_options = R"({"ratio":[4],"window":4})";
  m.layers = 2;
  m.kv_heads = 2;
  m.head_dim = 3;
  m.sink_rows = 1;
  m.beacon_rows = 3;
  m.raw_rows = 3;
  m.tokens_read = 14;
  m.source_hash = "00112233445566778899aabbccddeeff";
  m.pending_token = 7;
  m.title = "Emma";
  m.description = "Chapter 1";
  return m;
}

inline std::vector<SmallBlock> small_blocks() {
  std::vector<SmallBlock> blocks{
      {"beacon.spans", DType::kI64, {3, 2}, to_bytes<int64_t>({0, 4, 4, 8, 8, 12})},
      {"window.tokens", DType::kI32, {2}, to_bytes<int32_t>({100, 101})},
      {"window.ratios", DType::kI32, {4}, to_bytes<int32_t>({4, 4, 4, 4})},
      {"planner", DType::kU8, {5}, to_bytes<uint8_t>({1, 2, 3, 4, 5})},
      {"sampler", DType::kU8, {2}, to_bytes<uint8_t>({8, 9})},
  };
  float next = 0.5F;
  const auto numbers = [&next](size_t n) {
    std::vector<float> values(n);
    std::iota(values.begin(), values.end(), next);
    next += static_cast<float>(n);
    return to_bytes(values);
  };
  for (const std::string layer : {"layer.0.", "layer.1."}) {
    blocks.push_back({layer + "k", DType::kF32, {2, 7, 3}, numbers(42)});
    blocks.push_back({layer + "v", DType::kF32, {2, 7, 3}, numbers(42)});
    blocks.push_back({layer + "k_pre", DType::kF32, {2, 3, 3}, numbers(18)});
  }
  return blocks;
}

inline MemoryFileWriter writer_of(const std::vector<SmallBlock>& blocks) {
  MemoryFileWriter writer;
  for (const auto& b : blocks) writer.add_block(b.name, b.dtype, b.shape, b.bytes);
  return writer;
}

inline Buffer write_to_buffer(const MemoryFileWriter& writer, const MemoryManifest& manifest) {
  Buffer file;
  writer.write(manifest, [&](std::span<const std::byte> bytes) {
    file.insert(file.end(), bytes.begin(), bytes.end());
  });
  return file;
}

inline Buffer small_file() { return write_to_buffer(writer_of(small_blocks()), small_manifest()); }

inline std::string hex16(uint64_t value) {
  std::string text(16, '0');
  for (size_t i = 0; i < 16; ++i) text[15 - i] = "0123456789abcdef"[value >> (4 * i) & 15];
  return text;
}

inline void put(Buffer& file, size_t at, uint64_t value, size_t bytes = 8) {
  for (size_t i = 0; i < bytes; ++i) file[at + i] = static_cast<std::byte>(value >> (8 * i));
}

inline uint64_t get(const Buffer& file, size_t at) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value |= std::to_integer<uint64_t>(file[at + i]) << (8 * i);
  return value;
}

inline void seal_header(Buffer& file) { put(file, 56, XXH3_64bits(file.data(), 56)); }

// A file taken apart: change it, then build() puts it together with every checksum right.
struct Forge {
  Json manifest;
  std::vector<Buffer> data;
  // Runs on the manifest after offsets and hashes are filled in, so that those can be wrong too.
  std::function<void(Json&)> last = [](Json&) {};

  static Forge small() { return Forge(small_file()); }

  explicit Forge(const Buffer& file) {
    const auto* text = reinterpret_cast<const char*>(file.data());
    manifest = Json::parse(text + 64, text + 64 + get(file, 32));
    for (const auto& b : manifest["blocks"]) {
      const auto from = file.begin() + b["offset"].get<ptrdiff_t>();
      data.emplace_back(from, from + b["bytes"].get<ptrdiff_t>());
    }
  }

  size_t index(const std::string& name) const {
    for (size_t i = 0; i < data.size(); ++i)
      if (manifest["blocks"][i]["name"] == name) return i;
    return data.size();
  }
  Json& entry(const std::string& name) { return manifest["blocks"].at(index(name)); }
  Buffer& bytes(const std::string& name) { return data.at(index(name)); }
  void erase(const std::string& name) {
    const size_t i = index(name);
    manifest["blocks"].erase(i);
    data.erase(data.begin() + static_cast<ptrdiff_t>(i));
  }
  void add(const std::string& name, const char* dtype, Json shape, Buffer bytes) {
    manifest["blocks"].push_back(
        {{"name", name}, {"dtype", dtype}, {"shape", std::move(shape)}, {"bytes", bytes.size()}});
    data.push_back(std::move(bytes));
  }

  Buffer build() const {
    constexpr size_t kManifestBytes = 4096;  // with blanks at the end
    Json json = manifest;
    size_t end = 64 + kManifestBytes;
    for (size_t i = 0; i < data.size(); ++i) {
      Json& b = json["blocks"][i];
      b["offset"] = (end + 63) / 64 * 64;
      b["xxh3"] = hex16(XXH3_64bits(data[i].data(), data[i].size()));
      end = b["offset"].get<size_t>() + data[i].size();
    }
    Buffer file(end);
    for (size_t i = 0; i < data.size(); ++i)
      std::copy(data[i].begin(), data[i].end(), file.begin() + json["blocks"][i]["offset"].get<ptrdiff_t>());
    last(json);
    return with_manifest(std::move(file), json.dump(), kManifestBytes);
  }

  static Buffer with_manifest(Buffer file, std::string text, size_t room) {
    text.resize(std::max(room, text.size()), ' ');
    if (file.size() < 64 + text.size()) file.resize(64 + text.size());
    std::memcpy(file.data() + 64, text.data(), text.size());
    std::memcpy(file.data(), "BEACONMM", 8);
    put(file, 8, 1, 4);
    put(file, 16, file.size());
    put(file, 24, 64);
    put(file, 32, text.size());
    put(file, 40, XXH3_64bits(text.data(), text.size()));
    seal_header(file);
    return file;
  }
};

}  // namespace beacon::testing
