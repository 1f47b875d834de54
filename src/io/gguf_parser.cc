#include "io/gguf_parser.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/checked.h"

namespace beacon {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxNameBytes = 1024;
constexpr uint64_t kMaxAlignment = 1 << 16;
constexpr uint32_t kMaxDims = 4;
constexpr std::string_view kAlignmentKey = "general.alignment";

struct Kind {
  uint32_t id;
  std::string_view name;
  std::optional<DType> dtype;
};

// Tensor kinds with the numbers of the format. Those without a DType are known by name only.
constexpr Kind kKinds[] = {
    {0, "F32", DType::kF32},
    {1, "F16", DType::kF16},
    {2, "Q4_0", DType::kQ4_0},
    {3, "Q4_1", DType::kQ4_1},
    {6, "Q5_0", DType::kQ5_0},
    {7, "Q5_1", DType::kQ5_1},
    {8, "Q8_0", DType::kQ8_0},
    {9, "Q8_1", {}},
    {10, "Q2_K", {}},
    {11, "Q3_K", {}},
    {12, "Q4_K", DType::kQ4_K},
    {13, "Q5_K", DType::kQ5_K},
    {14, "Q6_K", DType::kQ6_K},
    {15, "Q8_K", {}},
    {16, "IQ2_XXS", {}},
    {17, "IQ2_XS", {}},
    {18, "IQ3_XXS", {}},
    {19, "IQ1_S", {}},
    {20, "IQ4_NL", {}},
    {21, "IQ3_S", {}},
    {22, "IQ2_S", {}},
    {23, "IQ4_XS", {}},
    {24, "I8", {}},
    {25, "I16", {}},
    {26, "I32", {}},
    {27, "I64", {}},
    {28, "F64", {}},
    {29, "IQ1_M", {}},
    {30, "BF16", DType::kBF16},
    {34, "TQ1_0", {}},
    {35, "TQ2_0", {}},
    {39, "MXFP4", {}},
};

const Kind* find_kind(uint32_t id) {
  for (const Kind& kind : kKinds) {
    if (kind.id == id) return &kind;
  }
  return nullptr;
}

}  // namespace

std::span<const std::byte> GgufParser::take(uint64_t n, std::string_view purpose) {
  require(n <= left(), ErrorCode::kBadFile,
          "{}: {} needs {} bytes at {}, but only {} are left; is the file truncated?", what_, purpose, n,
          position_, left());
  const auto part = bytes_.subspan(position_, n);
  position_ += n;
  return part;
}

template <typename T>
T GgufParser::read(std::string_view purpose) {
  T value;
  std::memcpy(&value, take(sizeof(T), purpose).data(), sizeof(T));
  return value;
}

std::string_view GgufParser::read_string(uint64_t max_bytes, std::string_view purpose) {
  const auto length = read<uint64_t>(purpose);
  require(length <= max_bytes, ErrorCode::kBadFile, "{}: {} claims {} bytes, at most {} are read", what_,
          purpose, length, max_bytes);
  const auto part = take(length, purpose);
  return {reinterpret_cast<const char*>(part.data()), part.size()};
}

GgufType GgufParser::read_type(std::string_view purpose) {
  const auto type = read<uint32_t>(purpose);
  require(type <= static_cast<uint32_t>(GgufType::kF64), ErrorCode::kBadFile,
          "{}: \"{}\" has value kind {}, expected 0 to 12", what_, purpose, type);
  return static_cast<GgufType>(type);
}

// So that a count of a few bytes cannot make us allocate or loop for more than the file could hold.
uint64_t GgufParser::check_count(uint64_t count, uint64_t smallest, std::string_view purpose) {
  require(count <= left() / smallest, ErrorCode::kBadFile,
          "{}: {} claims {} items, but {} bytes hold at most {}", what_, purpose, count, left(),
          left() / smallest);
  return count;
}

void GgufParser::read_header() {
  const auto magic = read<uint32_t>("the magic number");
  require(magic == kMagic, ErrorCode::kBadFile, "{}: expected a GGUF file, found magic number {:#010x}",
          what_, magic);
  file_.version_ = read<uint32_t>("the version");
  require((file_.version_ & 0xffff) != 0, ErrorCode::kUnsupported,
          "{}: a big-endian GGUF file; expected little-endian", what_);
  require(file_.version_ == 2 || file_.version_ == 3, ErrorCode::kUnsupported,
          "{}: GGUF version {}; versions 2 and 3 are supported, convert the model again", what_,
          file_.version_);
  tensor_count_ = read<uint64_t>("the tensor count");
  value_count_ = read<uint64_t>("the metadata count");
  // An entry has at least a name's length, dimensions, a size, kind and offset; a value a key's length, a
  // kind, a byte.
  check_count(tensor_count_, 8 + 4 + 8 + 4 + 8, "the tensor table");
  check_count(value_count_, 8 + 4 + 1, "the metadata");
}

void GgufParser::read_array(GgufValue& value, std::string_view key) {
  value.element = read_type(key);
  require(value.element != GgufType::kArray, ErrorCode::kBadFile,
          "{}: \"{}\" is an array of arrays, which is not read", what_, key);
  value.count = read<uint64_t>(key);
  if (value.element != GgufType::kString) {
    const uint64_t size = gguf_scalar_bytes(value.element);
    check_count(value.count, size, key);
    value.bytes = take(value.count * size, key);
    return;
  }
  check_count(value.count, 8, key);
  value.strings.reserve(value.count);
  for (uint64_t i = 0; i < value.count; ++i) value.strings.push_back(read_string(left(), key));
}

GgufValue GgufParser::read_value(std::string_view key) {
  GgufValue value;
  value.type = read_type(key);
  if (value.type == GgufType::kArray) {
    read_array(value, key);
  } else if (value.type == GgufType::kString) {
    value.text = read_string(left(), key);
  } else {
    value.bytes = take(gguf_scalar_bytes(value.type), key);
  }
  if (value.type == GgufType::kBool || (value.type == GgufType::kArray && value.element == GgufType::kBool)) {
    for (const std::byte b : value.bytes) {
      require(std::to_integer<int>(b) <= 1, ErrorCode::kBadFile,
              "{}: \"{}\" should be a bool (0 or 1), found {}", what_, key, std::to_integer<int>(b));
    }
  }
  return value;
}

void GgufParser::read_metadata() {
  for (uint64_t i = 0; i < value_count_; ++i) {
    const auto key = read_string(kMaxKeyBytes, fmt::format("metadata key {}", i));
    require(!key.empty(), ErrorCode::kBadFile, "{}: metadata key {} is empty", what_, i);
    GgufValue value = read_value(key);
    require(file_.values_.emplace(key, std::move(value)).second, ErrorCode::kBadFile,
            "{}: the metadata key \"{}\" comes twice", what_, key);
    file_.keys_.push_back(key);
  }
}

void GgufParser::read_alignment() {
  const GgufValue* value = file_.value(kAlignmentKey);
  if (value == nullptr) return;
  require(value->type == GgufType::kU32, ErrorCode::kBadFile, "{}: \"{}\" should be u32, found {}", what_,
          kAlignmentKey, to_string(value->type));
  const auto alignment = static_cast<uint64_t>(*file_.get_int(kAlignmentKey));
  require(alignment >= 8 && alignment <= kMaxAlignment && std::has_single_bit(alignment), ErrorCode::kBadFile,
          "{}: \"{}\" should be a power of two from 8 to {}, found {}", what_, kAlignmentKey, kMaxAlignment,
          alignment);
  file_.alignment_ = alignment;
}

GgufParser::Entry GgufParser::read_entry() {
  Entry entry;
  entry.name = read_string(kMaxNameBytes, "a tensor name");
  require(!entry.name.empty(), ErrorCode::kBadFile, "{}: a tensor has an empty name", what_);
  const auto dims = read<uint32_t>(entry.name);
  require(dims >= 1 && dims <= kMaxDims, ErrorCode::kBadFile,
          "{}: tensor {} has {} dimensions, expected 1 to {}", what_, entry.name, dims, kMaxDims);
  for (uint32_t i = 0; i < dims; ++i) {
    const auto d = read<uint64_t>(entry.name);
    const auto product = checked_mul(entry.elements, d);
    require(d > 0 && product.has_value() && *product <= static_cast<uint64_t>(INT64_MAX), ErrorCode::kBadFile,
            "{}: dimension {} of tensor {} is {}, which is zero or absurd", what_, i, entry.name, d);
    entry.elements = *product;
    entry.shape.push_back(static_cast<int64_t>(d));
  }
  entry.kind = read<uint32_t>(entry.name);
  entry.offset = read<uint64_t>(entry.name);
  return entry;
}

void GgufParser::place_tensor(const Entry& entry, std::span<const std::byte> data) {
  require(entry.offset % file_.alignment_ == 0, ErrorCode::kBadFile,
          "{}: tensor {} begins at {}, which is not a multiple of the alignment {}", what_, entry.name,
          entry.offset, file_.alignment_);
  const Kind* kind = find_kind(entry.kind);
  if (kind == nullptr || !kind->dtype) {
    file_.unsupported_.emplace_back(
        entry.name, kind != nullptr ? std::string(kind->name) : fmt::format("number {}", entry.kind));
    return;
  }
  TensorView tensor;
  tensor.name = entry.name;
  tensor.dtype = *kind->dtype;
  tensor.shape.assign(entry.shape.rbegin(), entry.shape.rend());
  const auto block = dtype_info(tensor.dtype).block_elements;
  require(entry.shape[0] % block == 0, ErrorCode::kBadFile,
          "{}: tensor {} of kind {} has rows of {}, expected a multiple of {}", what_, entry.name, kind->name,
          entry.shape[0], block);
  const auto size = dtype_bytes(tensor.dtype, entry.elements);
  require(size.has_value() && entry.offset <= data.size() && *size <= data.size() - entry.offset,
          ErrorCode::kBadFile,
          "{}: tensor {} of {} {} at byte {} does not fit into the {} bytes of data; is the file truncated?",
          what_, entry.name, kind->name, shape_to_string(tensor.shape), entry.offset, data.size());
  tensor.bytes = data.subspan(entry.offset, *size);
  file_.tensors_.push_back(std::move(tensor));
}

void GgufParser::check_overlaps() const {
  std::vector<const TensorView*> order;
  for (const TensorView& tensor : file_.tensors_) order.push_back(&tensor);
  std::sort(order.begin(), order.end(),
            [](const TensorView* a, const TensorView* b) { return a->bytes.data() < b->bytes.data(); });
  for (size_t i = 1; i < order.size(); ++i) {
    require(order[i - 1]->bytes.data() + order[i - 1]->bytes.size() <= order[i]->bytes.data(),
            ErrorCode::kBadFile, "{}: the tensors {} and {} overlap", what_, order[i - 1]->name,
            order[i]->name);
  }
}

void GgufParser::read_tensors() {
  std::vector<Entry> entries;
  entries.reserve(tensor_count_);
  std::unordered_map<std::string_view, size_t> seen;
  for (uint64_t i = 0; i < tensor_count_; ++i) entries.push_back(read_entry());
  for (const Entry& entry : entries) {
    require(seen.emplace(entry.name, 0).second, ErrorCode::kBadFile, "{}: the tensor name \"{}\" comes twice",
            what_, entry.name);
  }
  // position_ is at most the file's size, so rounding it up cannot overflow.
  const uint64_t begin = (position_ + file_.alignment_ - 1) / file_.alignment_ * file_.alignment_;
  const auto data = begin <= bytes_.size() ? bytes_.subspan(begin) : std::span<const std::byte>();
  for (const Entry& entry : entries) place_tensor(entry, data);
  check_overlaps();
  for (size_t i = 0; i < file_.tensors_.size(); ++i) file_.index_[file_.tensors_[i].name] = i;
}

GgufFile GgufParser::parse() {
  file_.what_ = what_;
  read_header();
  read_metadata();
  read_alignment();
  read_tensors();
  return std::move(file_);
}

}  // namespace beacon
