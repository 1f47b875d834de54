#pragma once
// The safetensors format: 8 bytes of header length, a JSON header, the tensors' bytes.
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/tensor_view.h"

namespace beacon {

class MappedFile;

// Longest header that is read, the limit of the reference implementation.
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

// A parsed file. Const after construction, so threads may share it.
class SafetensorsFile {
 public:
  // Parses a file that lies in memory and must outlive the object. As in the reference, the tensors must fill
  // the data part without holes, overlaps or bytes left at the end. Throws kBadFile, or kUnsupported for an
  // element type that DType lacks; the message names `what` (the file) and the tensor.
  static SafetensorsFile parse(std::span<const std::byte> bytes,
                               const std::string& what = "safetensors data");
  // Maps and parses; the object keeps the mapping alive.
  static SafetensorsFile open(const std::filesystem::path& path);

  // In the order of their bytes in the file.
  const std::vector<TensorView>& tensors() const { return tensors_; }
  const TensorView* find(std::string_view name) const;
  // The header's __metadata__, empty when absent.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::shared_ptr<const MappedFile> file_;
  std::vector<TensorView> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

// Writes a file atomically. Tensors are laid out by falling element size, then by name, so that equal content
// gives equal bytes and every tensor is aligned to its element; the header is padded to 8 bytes. Throws
// kInvalidArgument for a name that comes twice, a quantised dtype or bytes that do not fit the shape, kIo
// when the disk refuses.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace beacon
