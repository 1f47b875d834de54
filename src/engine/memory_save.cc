// Memory to and from files. The container is memory/memory_file.h; here is what goes into it.
#include <ATen/Functions.h>
#include <beacon/memory.h>
#include <c10/core/InferenceMode.h>

#include <cstring>

#include "base/check.h"
#include "engine/memory_impl.h"
#include "engine/window_setup.h"
#include "memory/memory_file.h"
#include "ops/key_rows.h"
#include "window/state.h"

namespace beacon {
namespace {

// Blocks of the session beside those the container knows.
constexpr std::string_view kLastHidden =
    "session.last_hidden";                              // F32 [D]: hidden state of the last token fed
constexpr std::string_view kRecent = "session.recent";  // I32 [n]: youngest tokens, for repetition penalties
constexpr std::string_view kSamplerSeed =
    "session.sampler_seed";                              // I64 [1]: seed the sampler state belongs to
constexpr std::string_view kWindows = "window.records";  // I64 [n, 4]: begin, end, ratio, rows of each close

std::map<std::string, std::string> rope_entries(const RopeConfig& rope) {
  const auto number = [](double x) { return fmt::format("{:.17g}", x); };
  const auto optional = [&](const std::optional<double>& x) { return x ? number(*x) : std::string("none"); };
  return {{"kind", std::string(to_string(rope.kind))},
          {"theta", number(rope.theta)},
          {"factor", number(rope.factor)},
          {"original_max_position_embeddings", std::to_string(rope.original_max_position_embeddings)},
          {"beta_fast", number(rope.beta_fast)},
          {"beta_slow", number(rope.beta_slow)},
          {"attention_factor", optional(rope.attention_factor)},
          {"mscale", optional(rope.mscale)},
          {"mscale_all_dim", optional(rope.mscale_all_dim)},
          {"truncate", rope.truncate ? "true" : "false"},
          {"original_beacon_yarn", rope.original_beacon_yarn ? "true" : "false"},
          {"low_freq_factor", number(rope.low_freq_factor)},
          {"high_freq_factor", number(rope.high_freq_factor)}};
}

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

// One piece per head of a view [1, K, R, width] in host memory, whose rows lie together.
std::vector<MemoryFileWriter::Bytes> head_pieces(const at::Tensor& t) {
  std::vector<MemoryFileWriter::Bytes> pieces;
  const auto head_bytes = static_cast<size_t>(t.size(2) * t.size(3) * static_cast<int64_t>(t.element_size()));
  for (int64_t head = 0; head < t.size(1); ++head) {
    const auto* data = static_cast<const std::byte*>(t.const_data_ptr()) +
                       head * t.stride(1) * static_cast<int64_t>(t.element_size());
    pieces.emplace_back(data, head_bytes);
  }
  return pieces;
}

MemoryKeys keys_of(const KvGeometry& geometry) {
  if (!geometry.keys_rotated) return MemoryKeys::kUnrotated;
  // A plain session never rotates again, so it keeps no second copy of its keys.
  return geometry.windows_close ? MemoryKeys::kRotated : MemoryKeys::kSettled;
}

MemoryManifest make_manifest(const Memory::Impl& memory, const std::string& title) {
  const ModelInfo& info = memory.model->info();
  const KvGeometry& geometry = memory.state.kv.geometry();
  const KvCounts& counts = memory.state.kv.counts();
  MemoryManifest manifest;
  manifest.writer = "beacon 0.1.0";
  manifest.base = info.base_fingerprint;
  manifest.adapter = info.adapter_fingerprint;
  manifest.tokenizer = info.tokenizer_fingerprint.empty() ? "none" : info.tokenizer_fingerprint;
  manifest.rope = rope_entries(memory.model->impl().net.rope().config());
  manifest.window_options = window_to_json(memory.options());
  manifest.layers = geometry.num_layers;
  manifest.kv_heads = geometry.num_kv_heads;
  manifest.head_dim = geometry.head_dim;
  manifest.dtype = ops::row_dtype(geometry.type);
  manifest.keys = keys_of(geometry);
  manifest.sink_rows = counts.sink;
  manifest.beacon_rows = counts.beacons;
  manifest.raw_rows = counts.open;
  manifest.tokens_read = memory.state.planner.tokens_planned();
  manifest.source_hash = memory.hash.hex();
  manifest.pending_token = memory.pending;
  manifest.title = title;
  return manifest;
}

std::vector<int32_t> open_tokens(const Memory::Impl& memory) {
  size_t raw = 0;
  for (const OpenRow& row : memory.state.planner.state().open) raw += row.kind == SlotKind::kRaw ? 1 : 0;
  raw = std::min(raw, memory.recent.size());
  return {memory.recent.end() - static_cast<int64_t>(raw), memory.recent.end()};
}

// As --memory-type spells it.
std::string memory_type_name(DType type) {
  std::string name(dtype_info(type).name);
  for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return name;
}

template <typename T>
std::vector<T> values_of(const TensorView& block) {
  std::vector<T> values(block.bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), block.bytes.data(), values.size() * sizeof(T));
  return values;
}

void check_belongs(const MemoryManifest& manifest, const Model& model) {
  const ModelInfo& info = model.info();
  const auto same = [](const std::string& found, const std::string& expected, const char* what) {
    require(found == expected, ErrorCode::kMismatch,
            "the memory was made with another {} ({}), this model's is {}", what, found, expected);
  };
  same(manifest.base, info.base_fingerprint, "base model");
  same(manifest.adapter, info.adapter_fingerprint, "adapter");
  same(manifest.tokenizer, info.tokenizer_fingerprint.empty() ? "none" : info.tokenizer_fingerprint,
       "tokenizer");
  const auto expected = rope_entries(model.impl().net.rope().config());
  for (const auto& [key, value] : expected) {
    const auto found = manifest.rope.find(key);
    require(found != manifest.rope.end() && found->second == value, ErrorCode::kMismatch,
            "the memory was made with rope {} = {}, this model has {}", key,
            found == manifest.rope.end() ? "nothing" : found->second, value);
  }
  require(manifest.layers == info.num_hidden_layers && manifest.kv_heads == info.num_key_value_heads &&
              manifest.head_dim == info.head_dim,
          ErrorCode::kMismatch, "the memory has {} layers of {} x {} keys, the model {} of {} x {}",
          manifest.layers, manifest.kv_heads, manifest.head_dim, info.num_hidden_layers,
          info.num_key_value_heads, info.head_dim);
}

// A view [1, K, R, width] of a block; copied by KvMemory::from_rows.
at::Tensor tensor_of(const TensorView& block) {
  const at::ScalarType type = ops::row_scalar(block.dtype);
  return at::from_blob(const_cast<std::byte*>(block.bytes.data()),
                       {1, block.shape.at(0), block.shape.at(1), ops::row_width(type, block.shape.at(2))},
                       at::TensorOptions().dtype(type));
}

KvMemory read_keys(const MemoryFile& file, const KvGeometry& geometry) {
  const MemoryManifest& manifest = file.manifest();
  const KvCounts counts{manifest.sink_rows, manifest.beacon_rows, manifest.raw_rows};
  std::vector<KvMemory::Layer> layers;
  for (int64_t l = 0; l < geometry.num_layers; ++l) {
    KvMemory::Layer layer{
        tensor_of(file.block(memory_block::keys(l))), tensor_of(file.block(memory_block::values(l))), {}};
    if (geometry.keys_rotated && geometry.windows_close) {
      const TensorView& before = file.block(memory_block::keys_before_rope(l));
      require(before.dtype == DType::kF32, ErrorCode::kBadFile,
              "keys before RoPE of layer {} are {}, F32 was expected", l, dtype_info(before.dtype).name);
      layer.k_pre = tensor_of(before);
    }
    layers.push_back(std::move(layer));
  }
  // Layer by layer, so that a large memory is not in memory twice.
  return KvMemory::from_rows(geometry, counts, layers, counts.total(), [&](int64_t l) {
    file.let_go(file.block(memory_block::keys(l)));
    file.let_go(file.block(memory_block::values(l)));
  });
}

// The ledger's records; they must account for every beacon row.
std::vector<WindowRecord> read_windows(const MemoryFile& file) {
  const std::vector<int64_t> values = values_of<int64_t>(file.block(kWindows));
  std::vector<WindowRecord> windows;
  int64_t rows = 0;
  for (size_t i = 0; i + 4 <= values.size(); i += 4) {
    const bool sane = values[i] >= 0 && values[i] <= values[i + 1] && values[i + 2] >= 0 &&
                      values[i + 2] <= INT32_MAX && values[i + 3] >= 0 &&
                      values[i + 3] <= file.manifest().beacon_rows;
    require(sane, ErrorCode::kBadFile, "window record {} of the memory file is out of range", i / 4);
    windows.push_back({{values[i], values[i + 1]}, static_cast<int>(values[i + 2]), values[i + 3]});
    rows += values[i + 3];
  }
  require(values.size() % 4 == 0 && rows == file.manifest().beacon_rows, ErrorCode::kBadFile,
          "the window records of the memory file count {} beacon rows, it holds {}", rows,
          file.manifest().beacon_rows);
  return windows;
}

void read_state(const MemoryFile& file, Memory::Impl& memory) {
  const MemoryManifest& manifest = file.manifest();
  const std::span<const std::byte> planner = file.block(memory_block::kPlanner).bytes;
  PlannerState state =
      planner_state_from_bytes(reinterpret_cast<const uint8_t*>(planner.data()), planner.size());
  require(state.planned == manifest.tokens_read && state.sink_rows == manifest.sink_rows &&
              state.beacon_rows == manifest.beacon_rows &&
              static_cast<int64_t>(state.open.size()) == manifest.raw_rows,
          ErrorCode::kBadFile, "the plan in the memory file does not agree with its rows");
  memory.state.planner = Planner(memory.options(), std::move(state));
  const std::vector<int64_t> spans = file.source_spans();
  for (size_t i = 0; i + 2 <= spans.size(); i += 2)
    memory.state.beacon_spans.push_back({spans[i], spans[i + 1]});
  memory.state.windows = read_windows(file);
  memory.hash = SourceHash(manifest.source_hash);
  memory.recent = values_of<int32_t>(file.block(kRecent));
  const Planner& plan = memory.state.planner;
  const int64_t begun = plan.tokens_planned() - plan.stride_begin();
  require(plan.options().attention != BeaconAttention::kChosenEcho || std::ssize(memory.recent) >= begun,
          ErrorCode::kBadFile,
          "the memory file holds {} of its youngest tokens; {} are of an open stride, whose echoes are still "
          "to be chosen",
          memory.recent.size(), begun);
  memory.pending = manifest.pending_token;
  memory.title = manifest.title;
  const auto vocabulary = static_cast<int32_t>(memory.model->info().vocab_size);
  for (const int32_t id : memory.recent) {
    require(id >= 0 && id < vocabulary, ErrorCode::kBadFile,
            "token id {} in the memory file is outside the vocabulary", id);
  }
  require(!memory.pending || (*memory.pending >= 0 && *memory.pending < vocabulary), ErrorCode::kBadFile,
          "the pending token of the memory file is outside the vocabulary");
  if (const TensorView* block = file.find_block(memory_block::kSampler)) {
    memory.sampler = std::vector<std::byte>(block->bytes.begin(), block->bytes.end());
    const auto seed = values_of<int64_t>(file.block(kSamplerSeed));
    require(seed.size() == 1, ErrorCode::kBadFile,
            "the sampler's seed in the memory file has {} numbers, 1 was expected", seed.size());
    memory.sampler_seed = static_cast<uint64_t>(seed.front());
  }
  if (const TensorView* block = file.find_block(kLastHidden)) {
    const auto values = values_of<float>(*block);
    require(static_cast<int64_t>(values.size()) == memory.model->info().hidden_size, ErrorCode::kBadFile,
            "the last hidden state of the memory file has {} numbers, {} were expected", values.size(),
            memory.model->info().hidden_size);
    memory.last_hidden = at::empty({1, static_cast<int64_t>(values.size())}, at::kFloat);
    std::memcpy(memory.last_hidden.data_ptr<float>(), values.data(), values.size() * sizeof(float));
    memory.last_hidden = memory.last_hidden.to(memory.model->impl().device);
  }
}

}  // namespace

void Memory::save(const std::filesystem::path& path, const std::string& title) const {
  const c10::InferenceMode inference;
  const KvMemory& kv = impl_->state.kv;
  const KvGeometry& geometry = kv.geometry();
  const KvCounts& counts = kv.counts();
  require(counts.total() > 0, ErrorCode::kInvalidArgument,
          "the memory is empty; feed a text before saving it");
  const MemoryManifest manifest = make_manifest(*impl_, title.empty() ? impl_->title : title);

  std::vector<int64_t> spans, records;
  std::vector<int32_t> ratios;
  for (const Span& span : impl_->state.beacon_spans) spans.insert(spans.end(), {span.begin, span.end});
  for (const WindowRecord& w : impl_->state.windows) {
    records.insert(records.end(), {w.tokens.begin, w.tokens.end, w.ratio, w.num_beacons});
    ratios.push_back(w.ratio);
  }
  const std::vector<uint8_t> planner = to_bytes(impl_->state.planner.state());
  const std::vector<int32_t> tokens = open_tokens(*impl_);
  const std::vector<int32_t> recent(
      impl_->recent.end() - static_cast<int64_t>(std::min(impl_->recent.size(), Impl::kRecentTokens)),
      impl_->recent.end());

  MemoryFileWriter writer;
  const auto count = [](const auto& values) { return static_cast<int64_t>(values.size()); };
  writer.add_block(std::string(memory_block::kSpans), DType::kI64, {counts.beacons, 2}, bytes_of(spans));
  writer.add_block(std::string(memory_block::kTokens), DType::kI32, {count(tokens)}, bytes_of(tokens));
  writer.add_block(std::string(memory_block::kRatios), DType::kI32, {count(ratios)}, bytes_of(ratios));
  writer.add_block(std::string(kWindows), DType::kI64, {count(ratios), 4}, bytes_of(records));
  writer.add_block(std::string(memory_block::kPlanner), DType::kU8, {count(planner)}, bytes_of(planner));
  writer.add_block(std::string(kRecent), DType::kI32, {count(recent)}, bytes_of(recent));
  const std::vector<int64_t> seed = {static_cast<int64_t>(impl_->sampler_seed)};
  if (impl_->sampler) {
    writer.add_block(std::string(memory_block::kSampler), DType::kU8, {count(*impl_->sampler)},
                     *impl_->sampler);
    writer.add_block(std::string(kSamplerSeed), DType::kI64, {1}, bytes_of(seed));
  }
  std::vector<at::Tensor> held;  // copies in host memory of what is on a device, until all is written
  const auto host = [&held](const at::Tensor& t) { return t.is_cpu() ? t : held.emplace_back(t.cpu()); };
  if (impl_->last_hidden.defined()) {
    const at::Tensor hidden = host(impl_->last_hidden);
    const auto* data = reinterpret_cast<const std::byte*>(hidden.const_data_ptr<float>());
    writer.add_block(std::string(kLastHidden), DType::kF32, {hidden.numel()},
                     MemoryFileWriter::Bytes(data, static_cast<size_t>(hidden.numel()) * sizeof(float)));
  }
  for (int64_t l = 0; l < geometry.num_layers; ++l) {
    const std::vector<int64_t> shape = {geometry.num_kv_heads, counts.total(), geometry.head_dim};
    writer.add_block(memory_block::keys(l), manifest.dtype, shape, head_pieces(host(kv.keys(l, 0))));
    writer.add_block(memory_block::values(l), manifest.dtype, shape, head_pieces(host(kv.values(l, 0))));
    if (manifest.keys == MemoryKeys::kRotated) {
      writer.add_block(memory_block::keys_before_rope(l), DType::kF32,
                       {geometry.num_kv_heads, counts.open, geometry.head_dim},
                       head_pieces(host(kv.keys_before_rope(l))));
    }
  }
  writer.write_file(path, manifest);
}

Memory Memory::load(const std::filesystem::path& path, std::shared_ptr<const Model> model) {
  const c10::InferenceMode inference;
  const auto file = MemoryFile::open(path);
  const MemoryManifest& manifest = file->manifest();
  check_belongs(manifest, *model);
  require(manifest.dtype != DType::kF16, ErrorCode::kUnsupported,
          "the memory holds F16 keys; F32, BF16 or Q8_0 was expected");
  const WindowOptions options = window_from_json(manifest.window_options);
  auto impl = std::make_unique<Impl>(std::move(model), options, ops::row_scalar(manifest.dtype));
  require(manifest.keys == keys_of(impl->state.kv.geometry()), ErrorCode::kMismatch,
          "the memory keeps its keys in another form (rotated or not) than the model's rope and its options "
          "need");
  read_state(*file, *impl);
  impl->state.kv = read_keys(*file, impl->state.kv.geometry());
  return Memory(std::move(impl));
}

MemoryFileInfo inspect_memory_file(const std::filesystem::path& path, bool verify) {
  const auto file = MemoryFile::open(path, verify ? MemoryVerify::kChecksums : MemoryVerify::kStructure);
  const MemoryManifest& manifest = file->manifest();
  MemoryFileInfo info;
  info.format_version = static_cast<int>(file->format_version());
  info.title = manifest.title;
  info.base_fingerprint = manifest.base;
  info.adapter_fingerprint = manifest.adapter;
  info.tokenizer_fingerprint = manifest.tokenizer;
  info.source_hash = manifest.source_hash;
  const auto entry = [&](const char* key) {
    const auto found = manifest.rope.find(key);
    return found == manifest.rope.end() ? std::string("?") : found->second;
  };
  info.rope = fmt::format("{}, theta {}, factor {}", entry("kind"), entry("theta"), entry("factor"));
  info.options_json = manifest.window_options;
  info.memory_type = memory_type_name(manifest.dtype);
  info.file_bytes = static_cast<int64_t>(file->file_bytes());
  info.layers = manifest.layers;
  info.kv_heads = manifest.kv_heads;
  info.head_dim = manifest.head_dim;

  Ledger& ledger = info.ledger;
  const auto head_bytes =
      static_cast<int64_t>(*dtype_bytes(manifest.dtype, static_cast<uint64_t>(manifest.head_dim)));
  const int64_t row_bytes = 2 * manifest.layers * manifest.kv_heads * head_bytes;
  ledger.tokens_read = manifest.tokens_read;
  ledger.sink_rows = manifest.sink_rows;
  ledger.beacon_rows = manifest.beacon_rows;
  ledger.raw_rows = manifest.raw_rows;
  ledger.sink_bytes = manifest.sink_rows * row_bytes;
  ledger.beacon_bytes = manifest.beacon_rows * row_bytes;
  ledger.raw_bytes = manifest.raw_rows * row_bytes;
  ledger.positions = manifest.rows();
  for (const int32_t ratio : file->window_ratios()) ledger.ratios.push_back(ratio);
  return info;
}

}  // namespace beacon
