#pragma once
// Measuring the speed of reading and answering.
#include <beacon/session.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace beacon::cli {

struct BenchOptions {
  std::vector<int64_t> lengths;  // tokens to read
  int64_t window = 1024;
  int64_t stride = 0;  // 0 = the window
  int64_t ratio = 8;   // 0 keeps tokens raw
  int64_t sink = 0;
  std::optional<std::string> attention;  // what beacons see; unset: the adapter's rule, else the default
  bool no_beacons = false;               // a plain model
  MemoryType memory_type = MemoryType::kAuto;
  int runs = 5;
  int warm_up = 1;  // runs before those
  int64_t decode_tokens = 32;
  int64_t sequences = 1;  // that decode together
  uint64_t seed = 0;      // of the token ids
};

// One length.
struct BenchResult {
  int64_t length = 0;
  std::vector<double> tokens_per_s;  // one a run, ascending
  double flops = 0;                  // of a whole prefill, or of one generated token
  Ledger ledger;                     // after the prefill

  double median() const;
};

// Reads `length` random tokens, again and again. Stops with kCancelled when `go_on` returns false.
BenchResult bench_prefill(const std::shared_ptr<const Model>& model, const BenchOptions& options,
                          int64_t length, const ProgressCallback& go_on);

// Generates decode_tokens greedily after reading `length` tokens, in each of `sequences` sessions; every run
// starts from the same memories. The ledger is that of the first. Sequence i has read i tokens more: real
// ones are not in step either, so that their windows close and their beacons come at different times.
BenchResult bench_decode(const std::shared_ptr<const Model>& model, const BenchOptions& options,
                         int64_t length, const ProgressCallback& go_on);

}  // namespace beacon::cli
