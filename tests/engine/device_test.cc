// What a session promises, on a device: the numbers of the processor, and files that go both ways.
#include <beacon/batch.h>
#include <beacon/session.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <tuple>

#include "ops/device_kernels.h"
#include "ops/pretend_device.h"
#include "session_fixture.h"

namespace beacon {
namespace {

using testing::expect_near;
using testing::kRounding;
using testing::probe;
using testing::random_ids;
using testing::small_windows;
using testing::TemporaryFile;
using testing::tiny_model;

// A model, and whether the device has kernels of its own.
class Device : public ::testing::TestWithParam<std::tuple<const char*, bool>> {
 protected:
  void SetUp() override {
    const auto& [name, own] = GetParam();
    ops::use_device_kernels(testing::pretend_device().type(), own ? beacon_device_kernels() : nullptr);
    // Models with other rules of their own, too: keys rotated on reading, and a sliding window.
    host_ = tiny_model(name);
    there_ = tiny_model(name, "pretend");
  }
  void TearDown() override { ops::use_device_kernels(testing::pretend_device().type(), nullptr); }
  Session session(const std::shared_ptr<const Model>& model, size_t tokens, int64_t stride = 8) const {
    Session session(model, small_windows(stride, stride < 16 ? 1 : 0));
    session.feed(random_ids(tokens));
    return session;
  }
  std::shared_ptr<const Model> host_, there_;
};
INSTANTIATE_TEST_SUITE_P(Models, Device,
                         ::testing::Combine(::testing::Values("gguf_f32", "gguf_q4_1", "gguf_qwen2"),
                                            ::testing::Bool()),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) ? "_own" : "_torch");
                         });

TEST_P(Device, ReadsAsTheProcessorDoes) {
  EXPECT_EQ(there_->info().device, testing::pretend_device().str());
  EXPECT_EQ(host_->info().device, "cpu");
  for (const int64_t stride : {16, 8, 5}) {
    Session here = session(host_, 101, stride), there = session(there_, 101, stride);
    expect_near(probe(there), probe(here));
    EXPECT_EQ(there.ledger().beacon_bytes, here.ledger().beacon_bytes);
  }
}

TEST_P(Device, AnswersTheSame) {
  Session here = session(host_, 75), there = session(there_, 75);
  GenerateOptions options;
  options.max_new_tokens = 30;  // windows close on the way
  options.ignore_eos = true;
  EXPECT_EQ(there.generate(options).ids, here.generate(options).ids);
}

TEST_P(Device, MemoryFilesGoBothWays) {
  const TemporaryFile from_there("there.beacon"), from_here("here.beacon");
  Session here = session(host_, 90), there = session(there_, 90);
  const std::vector<float> expected = probe(*std::make_unique<Session>(here.clone()));
  there.save(from_there.path());
  here.save(from_here.path());
  Session loaded_here(host_, small_windows(8, 1)), loaded_there(there_, small_windows(8, 1));
  loaded_here.set_memory(Memory::load(from_there.path(), host_));
  loaded_there.set_memory(Memory::load(from_here.path(), there_));
  expect_near(probe(loaded_here), expected);
  expect_near(probe(loaded_there), expected);
}

TEST_P(Device, RewindsAndClones) {
  Session there = session(there_, 70);
  const auto mark = there.mark();
  Session copy = there.clone();
  const std::vector<float> expected = probe(there);
  there.feed(random_ids(40, 5));
  there.rewind(*mark);
  EXPECT_EQ(probe(there), expected);
  EXPECT_EQ(probe(copy), expected);
}

TEST_P(Device, JoinsAndCuts) {
  const auto edited = [&](const std::shared_ptr<const Model>& model) {
    Session a = session(model, 64), b = session(model, 50);
    Session out(model, small_windows(8, 1));
    out.set_memory(Memory::join({&a.memory(), &b.memory()}).cut(20, 114));
    return probe(out);
  };
  // Except the first score: an edited memory forgets the hidden state that would predict it.
  const std::vector<float> here = edited(host_), there = edited(there_);
  for (size_t i = 1; i < here.size(); ++i) EXPECT_NEAR(there[i], here[i], kRounding) << i;
}

TEST_P(Device, SessionsGenerateTogether) {
  Session first = session(there_, 37), second = session(there_, 95, 5);
  Session alone_first = first.clone(), alone_second = second.clone();
  GenerateOptions options;
  options.max_new_tokens = 20;
  options.ignore_eos = true;
  Batch batch(there_);
  batch.add(first, options);
  batch.add(second, options);
  std::map<const Session*, std::vector<int32_t>> results;
  while (batch.size() > 0) {
    for (const BatchAnswer& answer : batch.step()) results[answer.session] = answer.result.ids;
  }
  EXPECT_EQ(results[&first], alone_first.generate(options).ids);
  EXPECT_EQ(results[&second], alone_second.generate(options).ids);
}

// Quantised weights stay in their blocks, and the device's own kernels multiply them. Rounded activations
// move these log-probabilities, of -5 to -30, by some hundredths in the mean; a wrong block by whole numbers.
TEST(DeviceKernels, QuantisedModelsReadFromTheirBlocks) {
  const c10::DeviceType type = testing::pretend_device().type();
  ops::use_device_kernels(type, beacon_device_kernels());
  for (const char* name : {"gguf_q8_0", "gguf_q4_0", "gguf_q4_1", "gguf_q5_0", "gguf_q5_1", "gguf_q4_k",
                           "gguf_q5_k", "gguf_q6_k"}) {
    SCOPED_TRACE(name);
    ModelOptions options;
    options.model = std::filesystem::path(BEACON_TEST_DATA_DIR "/models") / name / "model.gguf";
    options.beacon_gate = 0.0F;
    options.compute = ComputeType::kF32;
    Session here(Model::load(options), small_windows());
    options.compute = ComputeType::kAuto;
    options.device = "pretend";
    const auto model = Model::load(options);
    EXPECT_EQ(model->info().compute, "bf16");
    Session there(model, small_windows());
    const std::vector<int32_t> ids = random_ids(60);
    here.feed(ids);
    for (size_t i = 0; i < ids.size(); i += 5) there.feed(std::span(ids).subspan(i, 5));  // few rows a step
    const std::vector<float> expected = probe(here), actual = probe(there);
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 0.5F) << i;
    float difference = 0;
    for (size_t i = 0; i < expected.size(); ++i) difference += std::fabs(actual[i] - expected[i]);
    EXPECT_LT(difference / static_cast<float>(expected.size()), 0.12F);
  }
  ops::use_device_kernels(type, nullptr);
}

TEST(DeviceErrors, SayWhatIsPossible) {
  const auto expect_error = [](ErrorCode code, const std::string& part, const std::function<void()>& call) {
    try {
      call();
      ADD_FAILURE() << "no error: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  expect_error(ErrorCode::kInvalidArgument, "cpu, cuda or cuda:N", [] { tiny_model("gguf_f32", "gpu"); });
  expect_error(ErrorCode::kInvalidArgument, "cpu, cuda or cuda:N", [] { tiny_model("gguf_f32", "cuda:x"); });
  const auto model = tiny_model("gguf_f32", "pretend");
  SessionOptions options = small_windows();
  options.memory_type = MemoryType::kQ8_0;
  expect_error(ErrorCode::kUnsupported, "use bf16", [&] { Session(model, options); });
  ModelOptions q15;
  q15.model = BEACON_TEST_DATA_DIR "/models/gguf_f32/model.gguf";
  q15.device = "pretend";
  q15.compute = ComputeType::kQ15;
  expect_error(ErrorCode::kUnsupported, "bf16 or f32", [&] { Model::load(q15); });
}

}  // namespace
}  // namespace beacon
