// Memory files: the bytes as they are, then with header and manifest checksums made right, so that the checks
// behind them are reached. Whatever is accepted must be safe to use and must be written and read back the
// same.
#include <beacon/error.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "memory/memory_file.h"
#include "memory/memory_layout.h"

namespace {

using Bytes = std::span<const std::byte>;

void use(const beacon::MemoryFile& file) {
  beacon::MemoryFileWriter writer;
  for (const auto& block : file.blocks()) {
    if (static_cast<uint64_t>(block.elements()) * beacon::dtype_info(block.dtype).block_bytes !=
        block.bytes.size())
      std::abort();
    writer.add_block(block.name, block.dtype, block.shape, block.bytes);
  }
  if (file.source_spans().size() != 2 * static_cast<uint64_t>(file.manifest().beacon_rows)) std::abort();
  (void)file.window_tokens();
  (void)file.window_ratios();
  std::vector<std::byte> copy;
  try {
    writer.write(file.manifest(), [&](Bytes bytes) { copy.insert(copy.end(), bytes.begin(), bytes.end()); });
  } catch (const beacon::Error&) {
    return;  // window_options that grow past their bound when written again
  }
  if (!(beacon::MemoryFile::parse(copy)->manifest() == file.manifest())) std::abort();
}

void parse(Bytes bytes, beacon::MemoryVerify verify) {
  std::shared_ptr<const beacon::MemoryFile> file;
  try {
    file = beacon::MemoryFile::parse(bytes, verify);
  } catch (const beacon::Error& error) {
    if (error.code() == beacon::ErrorCode::kInternal) std::abort();
    return;
  }
  use(*file);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes input(reinterpret_cast<const std::byte*>(data), size);
  parse(input, beacon::MemoryVerify::kChecksums);
  if (size < beacon::kMemoryHeaderBytes) return 0;
  std::vector<std::byte> repaired(input.begin(), input.end());
  uint64_t manifest_bytes = 0;
  std::memcpy(&manifest_bytes, data + 32, sizeof(manifest_bytes));
  manifest_bytes = std::min<uint64_t>(manifest_bytes, size - beacon::kMemoryHeaderBytes);
  const auto header = beacon::encode_memory_header(
      {size, manifest_bytes, beacon::xxh3_of(input.subspan(beacon::kMemoryHeaderBytes, manifest_bytes))});
  std::copy(header.begin(), header.end(), repaired.begin());
  parse(repaired, beacon::MemoryVerify::kStructure);
  return 0;
}
