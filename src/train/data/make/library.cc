#include "train/data/make/library.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/check.h"

namespace beacon::train {
namespace {

namespace fs = std::filesystem;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_closing(char c) { return c == '"' || c == '\'' || c == ')' || c == ']'; }

// "Mr." and "J." end no sentence.
bool is_abbreviation(std::string_view text, size_t begin, size_t dot) {
  static constexpr std::array<std::string_view, 14> kKnown = {
      "Mr", "Mrs", "Ms", "Dr", "St", "Messrs", "Mme", "Col", "Gen", "Capt", "Prof", "Rev", "vol", "etc"};
  size_t word = dot;
  while (word > begin && std::isalpha(static_cast<unsigned char>(text[word - 1])) != 0) --word;
  const std::string_view last = text.substr(word, dot - word);
  return last.size() == 1 || std::find(kKnown.begin(), kKnown.end(), last) != kKnown.end();
}

// One past the end of a sentence whose final mark stands at `at`; 0 when it is none.
size_t end_of_sentence(std::string_view text, size_t begin, size_t at) {
  if (text[at] != '.' && text[at] != '!' && text[at] != '?') return 0;
  if (text[at] == '.' && is_abbreviation(text, begin, at)) return 0;
  size_t end = at + 1;
  while (end < text.size() &&
         (is_closing(text[end]) || text[end] == '.' || text[end] == '!' || text[end] == '?'))
    ++end;
  if (end == text.size()) return end;
  if (!is_space(text[end])) return 0;
  size_t next = end;
  while (next < text.size() && is_space(text[next])) ++next;
  // A small letter goes on with the sentence: "Stop!" he said.
  return next < text.size() && std::islower(static_cast<unsigned char>(text[next])) != 0 ? 0 : end;
}

}  // namespace

SentenceSpan next_sentence(std::string_view text, size_t from) {
  size_t begin = from;
  while (begin < text.size() && is_space(text[begin])) ++begin;
  for (size_t at = begin; at < text.size(); ++at) {
    if (text[at] == '\n') {
      size_t end = at;
      while (end > begin && is_space(text[end - 1])) --end;
      return {begin, end};
    }
    if (const size_t end = end_of_sentence(text, begin, at); end > 0) return {begin, end};
  }
  size_t end = text.size();
  while (end > begin && is_space(text[end - 1])) --end;
  return {begin, end};
}

Library::Library(const std::vector<fs::path>& paths) {
  for (const fs::path& path : paths) {
    std::vector<fs::path> files;
    std::error_code error;
    if (fs::is_directory(path, error)) {
      for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
        std::error_code ignored;
        if (at->is_regular_file(ignored) && at->path().extension() == ".txt" && at->file_size(ignored) > 0)
          files.push_back(at->path());
      }
      require(!error, ErrorCode::kIo, "cannot read the folder {}: {}", path.string(), error.message());
      std::sort(files.begin(), files.end());
    } else {
      files.push_back(path);
    }
    for (const fs::path& file : files) books_.push_back({file.filename().string(), MappedFile::open(file)});
  }
  require(!books_.empty(), ErrorCode::kBadFile,
          "expected folders of .txt files or text files, found no book");
}

void Library::remove(const std::vector<size_t>& indexes) {
  std::vector<Book> kept;
  for (size_t i = 0; i < books_.size(); ++i)
    if (std::find(indexes.begin(), indexes.end(), i) == indexes.end()) kept.push_back(books_[i]);
  require(!kept.empty(), ErrorCode::kBadFile, "every book was left out");
  books_ = std::move(kept);
}

Library::Place Library::draw(size_t bytes, Random& random) const {
  uint64_t places = 0;
  for (const Book& book : books_) places += book.text().size() > bytes ? book.text().size() - bytes : 0;
  require(places > 0, ErrorCode::kInvalidArgument,
          "no book has {} bytes; give longer books or make shorter samples", bytes);
  uint64_t at = random.below(places);
  for (size_t b = 0; b < books_.size(); ++b) {
    const std::string_view text = books_[b].text();
    if (text.size() <= bytes) continue;
    if (at >= text.size() - bytes) {
      at -= text.size() - bytes;
      continue;
    }
    // The sentence that begins here is cut; the one behind it is whole.
    const size_t offset = static_cast<size_t>(at);
    return {b, offset == 0 ? 0 : next_sentence(text, next_sentence(text, offset).end).begin};
  }
  fail(ErrorCode::kInternal, "a place was drawn outside all books");
}

}  // namespace beacon::train
