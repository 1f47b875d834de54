#pragma once
// Builders of small files and the check that bad ones are refused with one clear line.
#include <beacon/error.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace beacon {

inline std::span<const std::byte> as_span(std::string_view text) { return std::as_bytes(std::span(text)); }

// A number's bytes as they lie in a little-endian file.
template <typename T>
std::string raw(T value) {
  std::string text(sizeof(T), '\0');
  std::memcpy(text.data(), &value, sizeof(T));
  return text;
}

// A safetensors file from its header's text and its data.
inline std::string safetensors_bytes(std::string_view header, std::string_view data) {
  return raw(static_cast<uint64_t>(header.size())) + std::string(header) + std::string(data);
}

inline std::string gguf_string(std::string_view text) {
  return raw(static_cast<uint64_t>(text.size())) + std::string(text);
}

// Collects the parts of a GGUF file; counts may be set to lies.
struct GgufBuilder {
  uint32_t version = 3;
  std::string metadata, tensors, data;
  uint64_t value_count = 0, tensor_count = 0, alignment = 32;

  GgufBuilder& value(std::string_view key, uint32_t type, std::string_view bytes) {
    metadata += gguf_string(key) + raw(type) + std::string(bytes);
    ++value_count;
    return *this;
  }
  GgufBuilder& u32(std::string_view key, uint32_t n) { return value(key, 4, raw(n)); }
  GgufBuilder& f32(std::string_view key, float x) { return value(key, 6, raw(x)); }
  GgufBuilder& text(std::string_view key, std::string_view s) { return value(key, 8, gguf_string(s)); }
  GgufBuilder& tensor(std::string_view name, const std::vector<uint64_t>& ne, uint32_t kind,
                      uint64_t offset) {
    tensors += gguf_string(name) + raw(static_cast<uint32_t>(ne.size()));
    for (const uint64_t n : ne) tensors += raw(n);
    tensors += raw(kind) + raw(offset);
    ++tensor_count;
    return *this;
  }
  std::string bytes() const {
    std::string out = "GGUF" + raw(version) + raw(tensor_count) + raw(value_count) + metadata + tensors;
    out.resize((out.size() + alignment - 1) / alignment * alignment, '\0');
    return out + data;
  }
};

// Runs `action` and expects an Error of this code whose one line contains every part.
inline void expect_error(ErrorCode code, const std::vector<std::string>& parts,
                         const std::function<void()>& action) {
  try {
    action();
    ADD_FAILURE() << "nothing was thrown; expected: " << testing::PrintToString(parts);
  } catch (const Error& error) {
    EXPECT_EQ(to_string(error.code()), std::string(to_string(code))) << error.what();
    for (const auto& part : parts) EXPECT_THAT(error.what(), testing::HasSubstr(part));
    EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("\n")));
  }
}

// A folder that is removed at the end of the test.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "beacon_io_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::filesystem::path data_dir() { return BEACON_TEST_DATA_DIR; }

}  // namespace beacon
