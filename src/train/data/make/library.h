#pragma once
// The books that samples are made from.
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "base/random.h"

namespace beacon::train {

// A stretch of a text that is one sentence, without the white space around it.
struct SentenceSpan {
  size_t begin = 0;
  size_t end = 0;
};

// The first sentence that begins at or after `from`; empty at the end of the text. A sentence ends at . ! or
// ? (with closing quotes and brackets) before white space and something that can begin a sentence, not after
// a common abbreviation or a single letter; and always at the end of a line.
SentenceSpan next_sentence(std::string_view text, size_t from);

struct Book {
  std::string name;
  std::shared_ptr<const MappedFile> file;
  std::string_view text() const {
    return {reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()};
  }
};

// Books of one or more folders (.txt files, in the order of names) or files. Constant after construction.
class Library {
 public:
  // Throws kNotFound, kIo, or kBadFile when there is no book.
  explicit Library(const std::vector<std::filesystem::path>& paths);

  const std::vector<Book>& books() const { return books_; }
  // Leaves out the books at these indexes.
  void remove(const std::vector<size_t>& indexes);

  // A place to begin reading at least `bytes` bytes, at a sentence; every byte of every book that is long
  // enough is equally likely. Throws kInvalidArgument when no book is.
  struct Place {
    size_t book = 0;
    size_t offset = 0;
  };
  Place draw(size_t bytes, Random& random) const;

 private:
  std::vector<Book> books_;
};

}  // namespace beacon::train
