#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

namespace beacon {
namespace {

namespace fs = std::filesystem;

// A file of some whole pages and a part of one.
class MappedFileTest : public ::testing::Test {
 protected:
  static constexpr size_t kPages = 64;

  void SetUp() override {
    page_ = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    std::string pattern = (fs::temp_directory_path() / "beacon-test-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    contents_.resize(kPages * page_ + 100);
    for (size_t i = 0; i < contents_.size(); ++i) contents_[i] = static_cast<char>(i * 31 % 251);
    std::ofstream(folder_ / "file", std::ios::binary) << std::string(contents_.begin(), contents_.end());
    file_ = MappedFile::open(folder_ / "file");
  }
  void TearDown() override {
    file_.reset();
    fs::remove_all(folder_);
  }

  bool reads_right() const {
    const auto bytes = file_->bytes();
    return bytes.size() == contents_.size() &&
           std::equal(bytes.begin(), bytes.end(), contents_.begin(),
                      [](std::byte a, char b) { return a == static_cast<std::byte>(b); });
  }

  // Of the mapping, as the kernel counts them for this process.
  size_t resident_bytes() const {
    std::ifstream maps("/proc/self/smaps");
    bool inside = false;
    for (std::string line; std::getline(maps, line);) {
      const std::string name = (folder_ / "file").string();
      if (line.ends_with(name)) inside = true;
      if (inside && line.starts_with("Rss:")) return std::stoul(line.substr(4)) * 1024;
    }
    ADD_FAILURE() << "the mapping is not listed";
    return 0;
  }

  size_t page_ = 0;
  fs::path folder_;
  std::vector<char> contents_;
  std::shared_ptr<const MappedFile> file_;
};

TEST_F(MappedFileTest, WhatIsLetGoTakesNoMemoryAndIsStillThere) {
  EXPECT_TRUE(reads_right());
  EXPECT_EQ(resident_bytes(), (kPages + 1) * page_);
  file_->let_go(file_->bytes());
  EXPECT_EQ(resident_bytes(), 0u);
  EXPECT_TRUE(reads_right());
}

TEST_F(MappedFileTest, NeighboursStay) {
  EXPECT_TRUE(reads_right());
  // From within the second page to within the sixth: pages 2 to 4 are whole.
  file_->let_go(file_->bytes().subspan(page_ + 1, 4 * page_));
  EXPECT_EQ(resident_bytes(), (kPages + 1 - 3) * page_);
  file_->let_go(file_->bytes().subspan(10 * page_ + 1, page_ - 2));  // no whole page
  EXPECT_EQ(resident_bytes(), (kPages + 1 - 3) * page_);
  EXPECT_TRUE(reads_right());
}

}  // namespace
}  // namespace beacon
