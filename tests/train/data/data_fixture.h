#pragma once
// Small tokenizers, a folder that goes away, and what was said to the log.
#include <beacon/tokenizer.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/log.h"
#include "train/data/encoder.h"

namespace beacon::testing {

// 1000 tokens of byte-level BPE, <|endoftext|> and <|im_end|> end a generation, no BOS.
inline std::shared_ptr<const Tokenizer> bpe_tokenizer() {
  return Tokenizer::load(BEACON_TEST_DATA_DIR "/tokenizer/smollm.gguf");
}
// SentencePiece with a BOS in front.
inline std::shared_ptr<const Tokenizer> bos_tokenizer() {
  return Tokenizer::load(BEACON_TEST_DATA_DIR "/models/gguf_f32/model.gguf");
}

class DataFolder {
 public:
  DataFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "beacon-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~DataFolder() { std::filesystem::remove_all(path_); }

  std::filesystem::path write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }
  std::filesystem::path cache() const { return path_ / "cache"; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Collects warnings while it lives.
class LogCatcher {
 public:
  LogCatcher() {
    set_log_sink([this](const std::string& line) { lines.push_back(line); });
  }
  ~LogCatcher() { set_log_sink({}); }
  std::vector<std::string> lines;
};

}  // namespace beacon::testing
