#pragma once
// A tiny model with a vocabulary (tests/data/models/gguf_f32, no beacons of its own) and small windows, for
// the tests of sessions and memories. With the gate at 0 its beacons, copies of the base, matter as much as
// any key.
#include <beacon/session.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "test_data.h"

namespace beacon::testing {

inline std::shared_ptr<const Model> tiny_model(const char* name = "gguf_f32",
                                               const std::string& device = "cpu") {
  ModelOptions options;
  options.model = test_data() / "models" / name / "model.gguf";
  options.compute = ComputeType::kF32;
  options.device = device;
  options.beacon_gate = 0.0F;
  return Model::load(options);
}

inline SessionOptions small_windows(int64_t stride = 8, int64_t sink = 1) {
  SessionOptions options;
  options.beacons.window = 16;
  options.beacons.stride = stride;
  options.beacons.ratios = {4};
  options.beacons.sink = sink;
  return options;
}

inline std::vector<int32_t> random_ids(size_t count, unsigned seed = 1) {
  std::mt19937 generator(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(3 + generator() % 256);
  return ids;
}

// A file in a folder of its own that is removed with it.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& name) {
    std::string pattern = (std::filesystem::temp_directory_path() / "beacon-test-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ / name;
  }
  ~TemporaryFile() { std::filesystem::remove_all(folder_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path folder_;
  std::filesystem::path path_;
};

// f32 sums in another order, on logits of a few tens.
inline constexpr float kRounding = 2e-4F;

inline void expect_near(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], kRounding) << i;
}

// Log-probabilities of a fixed continuation: a fingerprint of everything the session remembers.
inline std::vector<float> probe(Session& session) { return session.score(random_ids(12, 99)); }

// The code of the error, of one line, that a call ends with.
inline ErrorCode code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kInternal;
}

}  // namespace beacon::testing
