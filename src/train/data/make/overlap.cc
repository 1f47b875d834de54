#include "train/data/make/overlap.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/mapped_file.h"

namespace beacon::train {
namespace {

namespace fs = std::filesystem;

constexpr size_t kWords = 12;

// Calls `on_run` with the hash of every run of kWords words.
template <typename OnRun>
void for_each_run(std::string_view text, const OnRun& on_run) {
  std::array<uint64_t, kWords> ring{};
  size_t count = 0;
  uint64_t word = 0;
  const auto finish_word = [&] {
    if (word == 0) return;
    ring[count++ % kWords] = word;
    word = 0;
    if (count < kWords) return;
    uint64_t run = 0;
    for (size_t i = 0; i < kWords; ++i) run = (run ^ ring[(count + i) % kWords]) * 0x9E3779B97F4A7C15U;
    on_run(run ^ (run >> 32));
  };
  for (const char c : text) {
    const char small = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool letter = (small >= 'a' && small <= 'z') || (small >= '0' && small <= '9');
    // FNV-1a; a word's hash is never 0, which means: between words.
    if (letter)
      word = (((word == 0 ? 0xCBF29CE484222325U : word) ^ static_cast<uint64_t>(small)) * 0x100000001B3U) | 1;
    if (!letter) finish_word();
  }
  finish_word();
}

}  // namespace

OverlapFilter::OverlapFilter(std::string_view text) {
  add(text);
  sort();
}

OverlapFilter::OverlapFilter(const std::vector<fs::path>& paths) {
  const auto add_file = [&](const fs::path& path) {
    const auto file = MappedFile::open(path);
    add({reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()});
  };
  for (const fs::path& path : paths) {
    std::error_code error;
    if (!fs::is_directory(path, error)) {
      add_file(path);
      continue;
    }
    for (fs::recursive_directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
      std::error_code ignored;
      if (at->is_regular_file(ignored) && at->file_size(ignored) > 0) add_file(at->path());
    }
    require(!error, ErrorCode::kIo, "cannot read the folder {}: {}", path.string(), error.message());
  }
  sort();
}

void OverlapFilter::add(std::string_view text) {
  for_each_run(text, [&](uint64_t run) { runs_.push_back(run); });
}

void OverlapFilter::sort() {
  std::sort(runs_.begin(), runs_.end());
  runs_.erase(std::unique(runs_.begin(), runs_.end()), runs_.end());
}

double OverlapFilter::share(std::string_view text) const {
  int64_t all = 0, known = 0;
  for_each_run(text, [&](uint64_t run) {
    ++all;
    known += std::binary_search(runs_.begin(), runs_.end(), run) ? 1 : 0;
  });
  return all > 0 ? static_cast<double>(known) / static_cast<double>(all) : 0;
}

}  // namespace beacon::train
