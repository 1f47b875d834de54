#include "io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/checked.h"
#include "base/mapped_file.h"
#include "io/json_reader.h"

namespace beacon {

static_assert(std::endian::native == std::endian::little,
              "the file formats are little-endian and read in place");

namespace {

constexpr DType kPlainTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kI8,   DType::kI16,
                                 DType::kI32, DType::kI64, DType::kU8,   DType::kBool, DType::kF64};

DType parse_dtype(const std::string& name, const std::string& what, const std::string& tensor) {
  for (const DType type : kPlainTypes) {
    if (dtype_info(type).name == name) return type;
  }
  fail(ErrorCode::kUnsupported,
       "{}: tensor {} has dtype \"{}\"; supported: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL", what, tensor,
       name.substr(0, 40));
}

// The bytes a tensor of this shape takes; throws when they overflow.
uint64_t shape_bytes(const TensorView& tensor, const std::string& what) {
  uint64_t elements = 1;
  for (const int64_t d : tensor.shape) {
    const auto product = checked_mul(elements, static_cast<uint64_t>(d));
    require(product.has_value() && *product <= static_cast<uint64_t>(INT64_MAX), ErrorCode::kBadFile,
            "{}: tensor {} has shape {}, whose product overflows", what, tensor.name,
            shape_to_string(tensor.shape));
    elements = *product;
  }
  const auto bytes = dtype_bytes(tensor.dtype, elements);
  require(bytes.has_value(), ErrorCode::kBadFile, "{}: tensor {} has shape {}, whose size overflows", what,
          tensor.name, shape_to_string(tensor.shape));
  return *bytes;
}

TensorView parse_tensor(const std::string& name, const Json& entry, std::span<const std::byte> data,
                        const std::string& what) {
  require(entry.is_object(), ErrorCode::kBadFile, "{}: the entry of tensor {} should be an object, found {}",
          what, name, json_snippet(entry));
  const JsonReader reader(entry, what + ": tensor " + name);
  TensorView tensor;
  tensor.name = name;
  const auto dtype = reader.string("dtype");
  if (!dtype) reader.wrong("dtype", "a string");
  tensor.dtype = parse_dtype(*dtype, what, name);
  constexpr int64_t kMax = INT64_MAX;
  for (const char* key : {"shape", "data_offsets"}) {
    if (!reader.has(key) || !reader.value(key)->is_array()) reader.wrong(key, "a list of integers");
  }
  tensor.shape = *reader.integers("shape", 0, kMax);
  const auto offsets = *reader.integers("data_offsets", 0, kMax);
  if (offsets.size() != 2 || offsets[0] > offsets[1]) reader.wrong("data_offsets", "[begin, end]");
  const auto begin = static_cast<uint64_t>(offsets[0]);
  const auto end = static_cast<uint64_t>(offsets[1]);
  require(end <= data.size(), ErrorCode::kBadFile,
          "{}: tensor {} ends at byte {} of the data, but there are only {}; is the file truncated?", what,
          name, end, data.size());
  const uint64_t expected = shape_bytes(tensor, what);
  require(expected == end - begin, ErrorCode::kBadFile,
          "{}: tensor {} of {} {} should have {} bytes, found {}", what, name, *dtype,
          shape_to_string(tensor.shape), expected, end - begin);
  tensor.bytes = data.subspan(begin, end - begin);
  return tensor;
}

// As the reference demands: from the first byte to the last, without holes and overlaps.
void check_layout(const std::vector<TensorView>& tensors, std::span<const std::byte> data,
                  const std::string& what) {
  uint64_t position = 0;
  for (const TensorView& tensor : tensors) {
    const auto begin = static_cast<uint64_t>(tensor.bytes.data() - data.data());
    require(begin >= position, ErrorCode::kBadFile,
            "{}: tensor {} begins at byte {}, inside the one before it (ends at {})", what, tensor.name,
            begin, position);
    require(begin == position, ErrorCode::kBadFile, "{}: {} bytes before tensor {} belong to no tensor", what,
            begin - position, tensor.name);
    position = begin + tensor.bytes.size();
  }
  require(position == data.size(), ErrorCode::kBadFile,
          "{}: {} bytes after the last tensor belong to no tensor", what, data.size() - position);
}

std::map<std::string, std::string> parse_metadata(const Json& entry, const std::string& what) {
  require(entry.is_object(), ErrorCode::kBadFile, "{}: __metadata__ should be an object of strings, found {}",
          what, json_snippet(entry));
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : entry.items()) {
    require(value.is_string(), ErrorCode::kBadFile, "{}: __metadata__ \"{}\" should be a string, found {}",
            what, key, json_snippet(value));
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

}  // namespace

std::string shape_to_string(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, const std::string& what) {
  uint64_t header_bytes = 0;
  require(bytes.size() >= sizeof(header_bytes), ErrorCode::kBadFile,
          "{}: expected at least 8 bytes of a safetensors file, found {}", what, bytes.size());
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  require(header_bytes <= kMaxSafetensorsHeaderBytes, ErrorCode::kBadFile,
          "{}: the header claims {} bytes, at most {} are read; is this a safetensors file?", what,
          header_bytes, kMaxSafetensorsHeaderBytes);
  require(header_bytes <= bytes.size() - sizeof(header_bytes), ErrorCode::kBadFile,
          "{}: the header claims {} bytes, but only {} follow; is the file truncated?", what, header_bytes,
          bytes.size() - sizeof(header_bytes));
  const auto data = bytes.subspan(sizeof(header_bytes) + header_bytes);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof(header_bytes),
                              header_bytes);
  // Depth 3: header, tensor, shape.
  const Json header =
      parse_json_object(text, what + ": header",
                        {.max_depth = 3, .max_values = 20'000'000, .max_bytes = kMaxSafetensorsHeaderBytes});

  SafetensorsFile file;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      file.metadata_ = parse_metadata(entry, what);
    } else {
      file.tensors_.push_back(parse_tensor(name, entry, data, what));
    }
  }
  // Empty tensors come before the one they share their place with.
  std::sort(file.tensors_.begin(), file.tensors_.end(), [](const TensorView& a, const TensorView& b) {
    if (a.bytes.data() != b.bytes.data()) return a.bytes.data() < b.bytes.data();
    if (a.bytes.size() != b.bytes.size()) return a.bytes.size() < b.bytes.size();
    return a.name < b.name;
  });
  check_layout(file.tensors_, data, what);
  for (size_t i = 0; i < file.tensors_.size(); ++i) file.index_[file.tensors_[i].name] = i;
  return file;
}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  auto mapped = MappedFile::open(path);
  SafetensorsFile file = parse(mapped->bytes(), path.string());
  file.file_ = std::move(mapped);
  return file;
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto it = index_.find(std::string(name));
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const TensorView*> order;
  for (const TensorView& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const TensorView* a, const TensorView* b) {
    const auto size_a = dtype_info(a->dtype).block_bytes;
    const auto size_b = dtype_info(b->dtype).block_bytes;
    return size_a != size_b ? size_a > size_b : a->name < b->name;
  });

  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t position = 0;
  for (const TensorView* tensor : order) {
    require(!is_quantised(tensor->dtype), ErrorCode::kInvalidArgument,
            "{}: tensor {} is {}, which safetensors cannot hold; dequantise it first", path.string(),
            tensor->name, dtype_info(tensor->dtype).name);
    require(tensor->name != "__metadata__" && !header.contains(tensor->name), ErrorCode::kInvalidArgument,
            "{}: the tensor name \"{}\" comes twice or is reserved", path.string(), tensor->name);
    for (const int64_t d : tensor->shape) {
      require(d >= 0, ErrorCode::kInvalidArgument, "tensor {} has shape {}", tensor->name,
              shape_to_string(tensor->shape));
    }
    const uint64_t expected = shape_bytes(*tensor, path.string());
    require(expected == tensor->bytes.size(), ErrorCode::kInvalidArgument,
            "{}: tensor {} of shape {} should have {} bytes, got {}", path.string(), tensor->name,
            shape_to_string(tensor->shape), expected, tensor->bytes.size());
    header[tensor->name] = {{"dtype", dtype_info(tensor->dtype).name},
                            {"shape", tensor->shape},
                            {"data_offsets", {position, position + expected}}};
    position += expected;
  }
  std::string text = header.dump(-1, ' ', true);
  text.resize((text.size() + 7) / 8 * 8, ' ');

  AtomicFile out(path);
  const uint64_t header_bytes = text.size();
  out.write(std::as_bytes(std::span(&header_bytes, 1)));
  out.write(std::as_bytes(std::span(text)));
  for (const TensorView* tensor : order) out.write(tensor->bytes);
  out.commit();
}

}  // namespace beacon
