// Reading on the GPU: the golden cases of the original in f32, and sessions in bf16 beside the processor's
// f32.
#include <beacon/session.h>

#include <algorithm>

#include "cuda/cuda_fixture.h"
#include "engine/parity.h"
#include "engine/session_fixture.h"
#include "train/parity.h"

namespace beacon {
namespace {

using namespace beacon::testing;

class CudaReadingTest : public CudaTest {};

TEST_F(CudaReadingTest, GoldenCasesAgreeWithTheOriginal) {
  int passed = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test_data() / "golden")) {
    if (!entry.is_directory()) continue;
    SCOPED_TRACE(entry.path().filename().string());
    for (const auto run : {run_parity_case, run_training_parity_case}) {
      for (const ParityLine& line : run(entry.path(), "cuda")) {
        EXPECT_NE(line.status, ParityLine::kFail)
            << line.section << ": " << line.max_abs_diff << " > " << line.tolerance << " " << line.note;
        passed += line.status == ParityLine::kPass ? 1 : 0;
      }
    }
  }
  EXPECT_GT(passed, 200);
}

// Rounded activations move log-probabilities by hundredths; a wrong mask, position or gate by tenths and
// more.
TEST_F(CudaReadingTest, Bf16IsNearTheProcessor) {
  const auto host = tiny_model();
  for (const std::optional<float> gate : {std::optional<float>(), std::optional(0.0F)}) {
    ModelOptions options;
    options.model = test_data() / "models/gguf_f32/model.gguf";
    options.device = "cuda";
    options.beacon_gate = gate;
    const auto there = Model::load(options);
    EXPECT_EQ(there->info().compute, "bf16");
    for (const int64_t stride : {16, 8, 5}) {
      SCOPED_TRACE(::testing::Message() << "stride " << stride << ", gate " << gate.has_value());
      Session here(host, small_windows(stride, stride < 16 ? 1 : 0));
      Session on_gpu(there, small_windows(stride, stride < 16 ? 1 : 0));
      here.feed(random_ids(101));
      on_gpu.feed(random_ids(101));
      const std::vector<float> expected = probe(here), actual = probe(on_gpu);
      for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 0.1F) << i;
    }
  }
}

}  // namespace
}  // namespace beacon
