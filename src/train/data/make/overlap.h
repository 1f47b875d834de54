#pragma once
// Keeping what models are tested on out of what they are trained on.
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace beacon::train {

// Remembers every run of 12 words of some texts. Words are runs of ASCII letters and digits, without regard
// to case, so that punctuation, line breaks and quoting (a text inside JSON) change little.
class OverlapFilter {
 public:
  // All regular files of the folders, at any depth, or files. Compressed ones are bytes like any other:
  // unpack them first. Throws kNotFound, kIo.
  explicit OverlapFilter(const std::vector<std::filesystem::path>& paths);
  // Of one text; for tests.
  explicit OverlapFilter(std::string_view text);

  // Which share of a text's runs of 12 words is in the texts remembered; 0 for a text of fewer words.
  double share(std::string_view text) const;

 private:
  void add(std::string_view text);
  void sort();
  std::vector<uint64_t> runs_;  // hashes, sorted
};

// Books with more than this share are left out: twelve words in a row are the same by chance or as a proverb,
// but hardly one run in two hundred.
inline constexpr double kMostOverlap = 0.005;

}  // namespace beacon::train
