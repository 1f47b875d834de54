#include <ATen/Functions.h>
#include <beacon/memory.h>
#include <c10/core/InferenceMode.h>

#include "base/check.h"
#include "engine/memory_impl.h"
#include "ops/key_rows.h"

namespace beacon {

KvGeometry kv_geometry(const Model::Impl& model, const WindowOptions& options, at::ScalarType type) {
  KvGeometry geometry;
  geometry.num_layers = model.info.num_hidden_layers;
  geometry.num_kv_heads = model.info.num_key_value_heads;
  geometry.head_dim = model.info.head_dim;
  geometry.type = type;
  geometry.keys_rotated = !model.net.rope().follows_length();
  geometry.windows_close = options.enabled;
  geometry.device = model.device;
  return geometry;
}

at::ScalarType memory_scalar(MemoryType type, const Model::Impl& model) {
  switch (type) {
    case MemoryType::kF32:
      return at::kFloat;
    case MemoryType::kBF16:
      return at::kBFloat16;
    case MemoryType::kQ8_0:
      require(model.info.head_dim % dtype_info(DType::kQ8_0).block_elements == 0, ErrorCode::kUnsupported,
              "a memory of q8_0 needs heads of a multiple of {} numbers, this model's have {}; use bf16",
              dtype_info(DType::kQ8_0).block_elements, model.info.head_dim);
      require(model.device.is_cpu(), ErrorCode::kUnsupported,
              "a memory of q8_0 needs the processor, the model is on {}; use bf16", model.info.device);
      return ops::kBlockRows;
    case MemoryType::kAuto:
      break;
  }
  return model.compute;
}

void check_positions(int64_t positions, int64_t max_positions, const std::string& advice) {
  require(positions <= max_positions, ErrorCode::kCapacity,
          "the text needs {} positions, the model was trained on {}; {}", positions, max_positions, advice);
}

double Ledger::mean_ratio() const {
  const int64_t condensed = tokens_read - raw_rows - sink_rows;
  return beacon_rows > 0 && condensed > beacon_rows
             ? static_cast<double>(condensed) / static_cast<double>(beacon_rows)
             : 1.0;
}

Memory::Impl::Impl(std::shared_ptr<const Model> of, const WindowOptions& options, at::ScalarType type)
    : model(std::move(of)),
      state{Planner(options), KvMemory(kv_geometry(model->impl(), options, type)), {}, {}} {}

std::unique_ptr<Memory::Impl> Memory::Impl::clone() const {
  const c10::InferenceMode inference;
  auto copy = std::make_unique<Impl>(model, options(), state.kv.geometry().type);
  copy->state = state.clone();
  copy->hash = hash;
  copy->recent = recent;
  copy->pending = pending;
  copy->sampler = sampler;
  copy->sampler_seed = sampler_seed;
  if (last_hidden.defined()) copy->last_hidden = last_hidden.clone();
  copy->title = title;
  copy->beyond_positions = beyond_positions;
  return copy;
}

void Memory::Impl::remember(std::span<const int32_t> ids) {
  hash.update(ids);
  recent.insert(recent.end(), ids.begin(), ids.end());
  if (recent.size() > 2 * kRecentTokens)
    recent.erase(recent.begin(), recent.end() - static_cast<int64_t>(kRecentTokens));
}

Ledger Memory::Impl::ledger() const {
  const KvCounts& counts = state.kv.counts();
  Ledger ledger;
  ledger.tokens_read = state.planner.tokens_planned();
  ledger.sink_rows = counts.sink;
  ledger.beacon_rows = counts.beacons;
  ledger.raw_rows = counts.open;
  ledger.sink_bytes = state.kv.bytes(counts.sink, 0);
  ledger.beacon_bytes = state.kv.bytes(counts.beacons, 0);
  ledger.raw_bytes = state.kv.bytes(counts.open, counts.open);
  ledger.weight_bytes = model->info().weight_bytes;
  ledger.positions = counts.total();
  ledger.max_positions = model->info().max_positions;
  for (const WindowRecord& window : state.windows) ledger.ratios.push_back(window.ratio);
  return ledger;
}

Memory::Memory(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Memory::Memory(Memory&&) noexcept = default;
Memory& Memory::operator=(Memory&&) noexcept = default;
Memory::~Memory() = default;

Memory Memory::clone() const { return Memory(impl_->clone()); }
Ledger Memory::ledger() const { return impl_->ledger(); }
std::string Memory::title() const { return impl_->title; }
std::string Memory::source_hash() const { return impl_->hash.hex(); }

std::vector<std::pair<int64_t, int64_t>> Memory::beacon_spans() const {
  std::vector<std::pair<int64_t, int64_t>> spans;
  for (const Span& span : impl_->state.beacon_spans) spans.emplace_back(span.begin, span.end);
  return spans;
}

}  // namespace beacon
