#include "io/gguf.h"

#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/mapped_file.h"
#include "io/gguf_parser.h"

namespace beacon {

std::string_view to_string(GgufType type) {
  constexpr std::string_view kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "string", "array", "u64", "i64", "f64"};
  return static_cast<size_t>(type) < std::size(kNames) ? kNames[static_cast<size_t>(type)] : "unknown";
}

size_t gguf_scalar_bytes(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

namespace {

template <typename T>
T load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

// Nothing when the kind is not an integer or the value does not fit.
std::optional<int64_t> load_int(GgufType type, const std::byte* p) {
  switch (type) {
    case GgufType::kU8:
      return load<uint8_t>(p);
    case GgufType::kI8:
      return load<int8_t>(p);
    case GgufType::kU16:
      return load<uint16_t>(p);
    case GgufType::kI16:
      return load<int16_t>(p);
    case GgufType::kU32:
      return load<uint32_t>(p);
    case GgufType::kI32:
      return load<int32_t>(p);
    case GgufType::kI64:
      return load<int64_t>(p);
    case GgufType::kU64: {
      const auto value = load<uint64_t>(p);
      return value <= static_cast<uint64_t>(INT64_MAX) ? std::optional(static_cast<int64_t>(value))
                                                       : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

std::string describe(const GgufValue& v) {
  if (v.type != GgufType::kArray) return std::string(to_string(v.type));
  return fmt::format("array of {} {}", v.count, to_string(v.element));
}

[[noreturn]] void wrong(const GgufFile& file, std::string_view key, std::string_view expected,
                        const GgufValue& found) {
  fail(ErrorCode::kBadFile, "{}: \"{}\" should be {}, found {}", file.what(), key, expected, describe(found));
}

}  // namespace

GgufFile GgufFile::parse(std::span<const std::byte> bytes, const std::string& what) {
  return GgufParser(bytes, what).parse();
}

GgufFile GgufFile::open(const std::filesystem::path& path) {
  auto mapped = MappedFile::open(path);
  GgufFile file = parse(mapped->bytes(), path.string());
  file.file_ = std::move(mapped);
  return file;
}

const TensorView* GgufFile::find(std::string_view name) const {
  const auto it = index_.find(std::string(name));
  if (it != index_.end()) return &tensors_[it->second];
  for (const auto& [other, kind] : unsupported_) {
    require(other != name, ErrorCode::kUnsupported, "{}: tensor {} is of kind {}; supported: {}", what_, name,
            kind, kGgufSupportedKinds);
  }
  return nullptr;
}

const GgufValue* GgufFile::value(std::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

std::optional<int64_t> GgufFile::get_int(std::string_view key) const {
  const GgufValue* v = value(key);
  if (v == nullptr) return std::nullopt;
  if (v->type == GgufType::kArray) wrong(*this, key, "an integer", *v);
  const auto n = load_int(v->type, v->bytes.data());
  if (!n) wrong(*this, key, "an integer below 2^63", *v);
  return n;
}

std::optional<double> GgufFile::get_float(std::string_view key) const {
  const GgufValue* v = value(key);
  if (v == nullptr) return std::nullopt;
  double number = 0;
  if (v->type == GgufType::kF32) {
    number = load<float>(v->bytes.data());
  } else if (v->type == GgufType::kF64) {
    number = load<double>(v->bytes.data());
  } else {
    const auto n = v->type == GgufType::kArray ? std::nullopt : load_int(v->type, v->bytes.data());
    if (!n) wrong(*this, key, "a number", *v);
    number = static_cast<double>(*n);
  }
  require(std::isfinite(number), ErrorCode::kBadFile, "{}: \"{}\" should be a finite number, found {}", what_,
          key, number);
  return number;
}

std::optional<bool> GgufFile::get_bool(std::string_view key) const {
  const GgufValue* v = value(key);
  if (v == nullptr) return std::nullopt;
  if (v->type != GgufType::kBool) wrong(*this, key, "a bool", *v);
  return load<uint8_t>(v->bytes.data()) != 0;
}

std::optional<std::string_view> GgufFile::get_string(std::string_view key) const {
  const GgufValue* v = value(key);
  if (v == nullptr) return std::nullopt;
  if (v->type != GgufType::kString) wrong(*this, key, "a string", *v);
  return v->text;
}

std::optional<std::vector<std::string_view>> GgufFile::get_strings(std::string_view key) const {
  const GgufValue* v = value(key);
  if (v == nullptr) return std::nullopt;
  if (v->type != GgufType::kArray || v->element != GgufType::kString)
    wrong(*this, key, "an array of strings", *v);
  return v->strings;
}

std::optional<std::vector<int64_t>> GgufFile::get_ints(std::string_view key) const {
  const GgufValue* v = value(key);
  if (v == nullptr) return std::nullopt;
  const size_t size = v->type == GgufType::kArray ? gguf_scalar_bytes(v->element) : 0;
  if (size == 0) wrong(*this, key, "an array of integers", *v);
  std::vector<int64_t> list(v->count);
  for (size_t i = 0; i < list.size(); ++i) {
    const auto n = load_int(v->element, v->bytes.data() + i * size);
    if (!n) wrong(*this, key, "an array of integers below 2^63", *v);
    list[i] = *n;
  }
  return list;
}

std::optional<std::vector<float>> GgufFile::get_floats(std::string_view key) const {
  const GgufValue* v = value(key);
  if (v == nullptr) return std::nullopt;
  if (v->type != GgufType::kArray || (v->element != GgufType::kF32 && v->element != GgufType::kF64)) {
    wrong(*this, key, "an array of f32 or f64", *v);
  }
  std::vector<float> list(v->count);
  for (size_t i = 0; i < list.size(); ++i) {
    list[i] = v->element == GgufType::kF32
                  ? load<float>(v->bytes.data() + i * sizeof(float))
                  : static_cast<float>(load<double>(v->bytes.data() + i * sizeof(double)));
  }
  return list;
}

}  // namespace beacon
