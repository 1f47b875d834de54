#include "train/checkpoint.h"

#include <fstream>

#include "engine/session_fixture.h"
#include "ops/tensor_check.h"

namespace beacon {
namespace {

using namespace beacon::testing;
namespace fs = std::filesystem;

class CheckpointTest : public TensorTest {
 protected:
  static AdamW make(int64_t rows = 3) {
    std::vector<NamedParameter> parameters = {
        {"a", ParameterKind::kProjection, at::randn({rows, 2}).set_requires_grad(true)},
        {"b", ParameterKind::kGate, at::randn({4}).set_requires_grad(true)}};
    AdamW adam(parameters, {});
    for (const NamedParameter& p : parameters) {
      at::Tensor tensor = p.tensor;
      tensor.mutable_grad() = at::randn_like(tensor.detach());
    }
    adam.step(0.1);
    return adam;
  }

  static RunState state(int64_t step) {
    RunState s;
    s.step = step;
    s.ratio_stream = 0xFEDCBA9876543210U;
    s.cursor = {3, 1234567890123};
    s.log_bytes = 17;
    s.tokens = 99;
    s.best = 3.123456789012345678;
    s.best_step = 2;
    s.seconds = 1.5;
    s.config = "{\"window\": 4}\n";
    s.data_fingerprint = 0x8000000000000001U;
    s.isa = "avx512";
    s.compute = "bf16";
    s.threads = 2;
    return s;
  }

  TemporaryFile folder_{"checkpoints"};
};

TEST_F(CheckpointTest, IsReadBackBitForBit) {
  const AdamW saved = make();
  write_checkpoint(folder_.path(), saved, state(7), 2);
  AdamW other = make();
  const auto file = latest_checkpoint(folder_.path());
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->filename(), "step-00000007.safetensors");
  EXPECT_TRUE(read_checkpoint(*file, other) == state(7));
  EXPECT_EQ(other.updates(), 1);
  for (size_t i = 0; i < 2; ++i) {
    expect_equal(other.parameters()[i].tensor.detach(), saved.parameters()[i].tensor.detach());
    expect_equal(other.first_moments()[i], saved.first_moments()[i]);
    expect_equal(other.second_moments()[i], saved.second_moments()[i]);
    EXPECT_TRUE(other.parameters()[i].tensor.requires_grad());
  }
}

TEST_F(CheckpointTest, KeepsTheYoungest) {
  const AdamW adam = make();
  for (const int64_t step : {1, 20, 3, 100}) write_checkpoint(folder_.path(), adam, state(step), 2);
  std::ofstream(folder_.path() / "step-x.safetensors") << "not one of ours";
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder_.path())) names.insert(entry.path().filename());
  EXPECT_EQ(names, (std::set<std::string>{"step-00000020.safetensors", "step-00000100.safetensors",
                                          "step-x.safetensors"}));
  EXPECT_EQ(latest_checkpoint(folder_.path())->filename(), "step-00000100.safetensors");
}

TEST_F(CheckpointTest, NothingThereIsNothing) { EXPECT_FALSE(latest_checkpoint(folder_.path()).has_value()); }

TEST_F(CheckpointTest, AnotherShapeIsRefusedAndChangesNothing) {
  write_checkpoint(folder_.path(), make(3), state(1), 1);
  AdamW other = make(5);
  const at::Tensor before = other.parameters()[1].tensor.detach().clone();
  expect_error(ErrorCode::kMismatch, "parameter/a",
               [&] { read_checkpoint(*latest_checkpoint(folder_.path()), other); });
  expect_equal(other.parameters()[1].tensor.detach(), before);
}

TEST_F(CheckpointTest, OtherFilesAreRefused) {
  fs::create_directories(folder_.path());
  AdamW adam = make();
  const fs::path file = folder_.path() / "step-00000001.safetensors";
  std::ofstream(file) << "garbage";
  expect_error(ErrorCode::kBadFile, "", [&] { read_checkpoint(file, adam); });
  write_safetensors(file, {});
  expect_error(ErrorCode::kBadFile, "not a checkpoint", [&] { read_checkpoint(file, adam); });
  write_safetensors(file, {}, {{"run_state", "{\"step\": -1}"}});
  expect_error(ErrorCode::kBadFile, "step", [&] { read_checkpoint(file, adam); });
}

// A full disk or a lost folder: what was there stays.
TEST_F(CheckpointTest, AFailureKeepsTheOldOne) {
  const AdamW adam = make();
  write_checkpoint(folder_.path(), adam, state(1), 1);
  const fs::path blocked = folder_.path() / "step-00000002.safetensors";
  fs::create_directories(blocked / "in the way");
  EXPECT_THROW(write_checkpoint(folder_.path(), adam, state(2), 1), Error);
  EXPECT_TRUE(fs::exists(folder_.path() / "step-00000001.safetensors"));
}

}  // namespace
}  // namespace beacon
