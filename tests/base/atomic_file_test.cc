#include "base/atomic_file.h"

#include <beacon/error.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace beacon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void put(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

void write(AtomicFile& file, const std::string& text) { file.write(std::as_bytes(std::span(text))); }

std::string refusal(const fs::path& target) {
  try {
    require_writable(target);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_THROW(AtomicFile{target}, Error);
    return error.what();
  }
  return "";
}

class AtomicFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "beacon_atomic_XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_)) found.push_back(entry.path().filename());
    return found;
  }

  fs::path folder_;
};

TEST_F(AtomicFileTest, TheOldFileStaysUntilTheCommit) {
  const fs::path target = folder_ / "file";
  put(target, "old");
  {
    AtomicFile file(target);
    write(file, "new ");
    write(file, "text");
    EXPECT_EQ(file.size(), 8u);
    EXPECT_EQ(read(target), "old");
    file.commit();
    EXPECT_EQ(read(target), "new text");
  }
  EXPECT_EQ(names(), std::vector<std::string>{"file"});
}

TEST_F(AtomicFileTest, WithoutCommitNothingChanges) {
  put(folder_ / "file", "old");
  {
    AtomicFile file(folder_ / "file");
    write(file, "half of the ");
  }
  EXPECT_EQ(read(folder_ / "file"), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"file"});
}

TEST_F(AtomicFileTest, TwoWritersOfOneTargetDoNotMix) {
  const fs::path target = folder_ / "file";
  AtomicFile first(target), second(target);
  write(first, "first");
  write(second, "second, longer");
  second.commit();
  first.commit();
  EXPECT_EQ(read(target), "first");
  EXPECT_EQ(names(), std::vector<std::string>{"file"});
}

TEST_F(AtomicFileTest, ALinkStaysALink) {
  fs::create_directory(folder_ / "far");
  put(folder_ / "far" / "file", "old");
  fs::create_symlink("far/file", folder_ / "near");
  fs::create_symlink(folder_ / "far" / "new", folder_ / "dangling");
  for (const char* name : {"near", "dangling"}) {
    AtomicFile file(folder_ / name);
    write(file, name);
    file.commit();
    EXPECT_TRUE(fs::is_symlink(folder_ / name)) << name;
  }
  EXPECT_EQ(read(folder_ / "far" / "file"), "near");
  EXPECT_EQ(read(folder_ / "far" / "new"), "dangling");
}

TEST_F(AtomicFileTest, PermissionsOfTheOldFileStay) {
  put(folder_ / "secret", "old");
  fs::permissions(folder_ / "secret", fs::perms(0600));
  AtomicFile file(folder_ / "secret");
  file.commit();
  EXPECT_EQ(fs::status(folder_ / "secret").permissions(), fs::perms(0600));
}

TEST_F(AtomicFileTest, WhatIsNoFileIsRefused) {
  fs::create_directory(folder_ / "folder");
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  fs::create_symlink("pipe", folder_ / "link");
  fs::create_symlink("circle", folder_ / "circle");
  put(folder_ / "file", "x");
  EXPECT_THAT(refusal(""), HasSubstr("nothing"));
  EXPECT_THAT(refusal(folder_ / "folder"), HasSubstr("found a folder"));
  EXPECT_THAT(refusal(folder_ / "pipe"), HasSubstr("found a device or a pipe"));
  EXPECT_THAT(refusal(folder_ / "link"), HasSubstr("found a device or a pipe"));
  EXPECT_THAT(refusal(folder_ / "circle"), HasSubstr("circle"));
  EXPECT_THAT(refusal(folder_ / "nowhere" / "file"), HasSubstr("nowhere"));
  EXPECT_THAT(refusal(folder_ / "file" / "file"), HasSubstr("Not a directory"));
  EXPECT_TRUE(fs::is_fifo(folder_ / "pipe"));
  EXPECT_EQ(refusal(folder_ / "new"), "");
  EXPECT_EQ(refusal(folder_ / "file"), "");
}

// Root may write everywhere, so only others can see this.
TEST_F(AtomicFileTest, AFolderWithoutPermissionIsRefused) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  fs::create_directory(folder_ / "locked");
  fs::permissions(folder_ / "locked", fs::perms(0500));
  EXPECT_THAT(refusal(folder_ / "locked" / "file"), HasSubstr("Permission denied"));
  fs::permissions(folder_ / "locked", fs::perms(0700));
}

}  // namespace
}  // namespace beacon
