#pragma once
// Making training data out of plain books.
#include <beacon/tokenizer.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "train/data/example.h"
#include "train/data/make/library.h"
#include "train/data/make/recall.h"

namespace beacon::train {

struct MakeDataOptions {
  std::vector<std::filesystem::path> books;  // folders of .txt files, or files
  std::vector<std::filesystem::path>
      exclude;  // what must not enter: books that share text with these are left out
  int64_t samples = 1000;
  double recall = 0.5;  // share of samples with questions, 0 .. 1; the rest is prose alone
  std::vector<Task> tasks =
      all_tasks();            // of the samples with questions, equally often; a task may be named twice
  int64_t min_length = 2048;  // tokens of a sample, prose and questions together
  int64_t max_length = 16384;
  int64_t window =
      1024;  // of the beacons to be trained: a text to be written again is longer, or lies further back
  bool pairs = false;  // questions as input and output instead of conversations
  uint64_t seed = 1;
};

struct MadeSample {
  Example example;
  std::string task;  // "prose" or a task's name
  std::string book;
  int64_t tokens = 0;  // about; the template's own are not counted
};

// Makes samples one by one. Constant after construction; sample i depends on the options but not on the
// others, so a longer file begins with a shorter one.
class SampleMaker {
 public:
  // Throws as Library and OverlapFilter, and kInvalidArgument for numbers that contradict each other.
  SampleMaker(std::shared_ptr<const Tokenizer> tokenizer, const MakeDataOptions& options);

  // Lengths are equally likely on a logarithmic scale between the bounds.
  MadeSample make(int64_t index) const;

  // Names of books left out because of what they share with the excluded texts.
  const std::vector<std::string>& left_out() const { return left_out_; }

 private:
  MadeSample prose(int64_t tokens, Random& random) const;
  MadeSample recall(Task task, int64_t tokens, Random& random) const;
  MadeSample reconstruct(int64_t tokens, Random& random) const;
  MadeSample ask(std::string text, const std::vector<Question>& questions, const std::string& book,
                 Random& random) const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  MakeDataOptions options_;
  Library library_;
  std::vector<std::string> left_out_;
};

struct MadeData {
  int64_t samples = 0;
  int64_t tokens = 0;
  std::map<std::string, int64_t> tasks;  // samples of each
};

// One line of JSON: the example, then task, book and tokens, which readers leave alone.
std::string to_json_line(const MadeSample& sample);

// Writes all samples as JSONL; the file appears when it is complete. `progress` gets the samples done and
// returns false to stop (kCancelled).
MadeData write_samples(const SampleMaker& maker, int64_t samples, const std::filesystem::path& path,
                       const std::function<bool(int64_t done)>& progress = {});

}  // namespace beacon::train
