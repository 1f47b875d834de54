#include "engine/reader.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "ops/device.h"

namespace beacon {
namespace {

// Flags the keys the beacon gate applies to: beacons, not raw rows that ratio 0 moved into beacon memory.
std::vector<uint8_t> beacon_flags(const ReadState& state, std::span<const OpenRow> open, const Step& step) {
  std::vector<uint8_t> flags(static_cast<size_t>(step.sink_rows), 0);
  for (const WindowRecord& window : state.windows) {
    flags.insert(flags.end(), static_cast<size_t>(window.num_beacons), window.ratio > 0 ? 1 : 0);
  }
  for (const OpenRow& row : open) flags.push_back(row.kind == SlotKind::kRaw ? 0 : 1);
  for (const SlotKind kind : step.slots) flags.push_back(kind == SlotKind::kRaw ? 0 : 1);
  BEACON_CHECK(static_cast<int64_t>(flags.size()) == step.memory_rows() + step.num_rows());
  return flags;
}

}  // namespace

SequenceReader::SequenceReader(const Transformer& net, ReadState& state, const ReadRequest& request)
    : net_(net),
      state_(state),
      request_(request),
      echoes_(is_echo(state.planner.options().attention)),
      gated_(net.weights().layers.front().beacon.gate.defined() && !(echoes_ && net.weights().quiet_gate)),
      batch_(state.kv.geometry().batch),
      num_tokens_(static_cast<int64_t>(request.ids.size()) / batch_),
      first_token_(state.planner.tokens_planned()) {
  BEACON_CHECK(static_cast<int64_t>(request.ids.size()) % batch_ == 0 && state.planner.tokens_pending() == 0);
  for (const int32_t id : request.ids) {
    require(id >= 0 && id < net.config().vocab_size, ErrorCode::kInvalidArgument,
            "token id {} is outside the vocabulary of {} tokens", id, net.config().vocab_size);
  }
  know_tokens();
  state.planner.feed(num_tokens_);
}

// Where chosen echoes stand is decided when their stride is complete.
void SequenceReader::know_tokens() {
  if (state_.planner.options().attention != BeaconAttention::kChosenEcho) return;
  const at::Tensor& table = net_.weights().token_worth;
  const int64_t begun = first_token_ - state_.planner.stride_begin();
  BEACON_CHECK(batch_ == 1 && table.defined() && std::ssize(request_.before) >= begun);
  const auto youngest = request_.before.last(static_cast<size_t>(begun));
  earlier_.assign(youngest.begin(), youngest.end());
  const float* worth = table.const_data_ptr<float>();
  for (const int32_t id : earlier_) worth_.push_back(worth[id]);
  for (const int32_t id : request_.ids) worth_.push_back(worth[id]);
}

int32_t SequenceReader::id_of(int64_t batch, int64_t token) const {
  if (token < first_token_) return earlier_[earlier_.size() - static_cast<size_t>(first_token_ - token)];
  return request_.ids[static_cast<size_t>(batch * num_tokens_ + token - first_token_)];
}

// The next step of the plan, if there is one.
bool SequenceReader::plan() {
  const std::vector<OpenRow> open = gated_ ? state_.planner.state().open : std::vector<OpenRow>();
  step_ = state_.planner.next({first_token_ - std::ssize(earlier_), worth_});
  if (!step_) return false;
  if (request_.on_plan) request_.on_plan(*step_);
  if (gated_) flags_ = beacon_flags(state_, open, *step_);
  token_ = step_->token_begin;
  end_ = 0;
  last_raw_ = step_->num_rows() - 1;
  while (step_->slots[static_cast<size_t>(last_raw_)] != SlotKind::kRaw) --last_raw_;
  return true;
}

std::optional<ForwardRows> SequenceReader::next() {
  if (!step_ && !plan()) return std::nullopt;
  const int64_t rows_of_step = step_->num_rows();
  const int64_t piece = step_->causal && step_->copy_from.empty() ? kMaxForwardRows : rows_of_step;
  begin_ = end_;
  end_ = begin_ + piece;
  // The last piece holds the last token, whose hidden state may be wanted.
  if (end_ > last_raw_) end_ = rows_of_step;
  return rows(begin_, end_);
}

ForwardRows SequenceReader::rows(int64_t begin, int64_t end) {
  const Step& step = *step_;
  const int64_t rows = end - begin;
  const auto vocabulary = static_cast<int32_t>(net_.config().vocab_size);
  ids_.assign(static_cast<size_t>(batch_ * rows), vocabulary);
  beacon_rows_.clear();
  raw_rows_.clear();
  for (int64_t r = 0; r < rows; ++r) {
    const SlotKind kind = step.slots[static_cast<size_t>(begin + r)];
    if (kind == SlotKind::kBeacon) beacon_rows_.push_back(static_cast<int32_t>(r));
    if (kind == SlotKind::kReplica || (kind == SlotKind::kBeacon && !echoes_)) continue;
    const bool raw = kind == SlotKind::kRaw;
    const int64_t token = raw ? token_ : step.echo_of[static_cast<size_t>(begin + r)];
    for (int64_t b = 0; b < batch_; ++b) ids_[static_cast<size_t>(b * rows + r)] = id_of(b, token);
    if (!raw) continue;
    raw_rows_.push_back(r);
    ++token_;
  }

  ForwardRows in;
  in.ids = ids_;
  in.positions = std::span(step.positions).subspan(static_cast<size_t>(begin), static_cast<size_t>(rows));
  in.beacon_rows = beacon_rows_;
  in.open_positions = step.cached_positions;
  in.copy_from = step.copy_from;
  in.mask = step.mask;
  in.echoes = echoes_;
  if (gated_) in.beacon_keys = std::span(flags_).first(static_cast<size_t>(step.memory_rows() + end));
  const bool last = end == step.num_rows() && state_.planner.tokens_pending() == 0;
  if (request_.hidden == HiddenRows::kAll) {
    in.hidden_rows = raw_rows_.empty() ? 0 : rows - raw_rows_.front();
  } else if (request_.hidden == HiddenRows::kLast && last && !raw_rows_.empty()) {
    raw_rows_.erase(raw_rows_.begin(), raw_rows_.end() - 1);
    in.hidden_rows = rows - raw_rows_.back();
  }
  return in;
}

void SequenceReader::accept(const at::Tensor& hidden) {
  if (hidden.size(1) > 0) hand_out(hidden);
  if (end_ == step_->num_rows()) finish_step();
}

// Of the rows computed only raw tokens are handed out.
void SequenceReader::hand_out(const at::Tensor& hidden) const {
  if (!request_.on_hidden) return;
  const auto count = static_cast<int64_t>(raw_rows_.size());
  std::vector<int64_t> index;
  for (const auto row : raw_rows_) index.push_back(row - (end_ - begin_ - hidden.size(1)));
  request_.on_hidden(token_ - count - first_token_,
                     hidden.index_select(1, ops::index_on(hidden.device(), index)));
}

void SequenceReader::finish_step() {
  const Step step = *std::exchange(step_, std::nullopt);
  if (step.close.closes) {
    state_.kv.close({step.close.sink, step.close.beacons, step.close.keep, step.close.keep_positions},
                    net_.rope());
    state_.beacon_spans.insert(state_.beacon_spans.end(), step.close.beacon_spans.begin(),
                               step.close.beacon_spans.end());
    state_.windows.insert(state_.windows.end(), step.close.windows.begin(), step.close.windows.end());
  }
  const int64_t done = step.token_end - first_token_;
  if (!request_.on_step || request_.on_step(done) || state_.planner.tokens_pending() == 0) return;
  state_.planner.discard_pending();
  fail(ErrorCode::kCancelled, "reading was stopped after {} of {} tokens; they are in memory", done,
       num_tokens_);
}

void read_tokens(const Transformer& net, ReadState& state, const ReadRequest& request,
                 TransformerScratch& scratch) {
  SequenceReader reader(net, state, request);
  while (const auto rows = reader.next()) reader.accept(net.forward(*rows, state.kv, scratch));
}

void read_together(const Transformer& net, std::span<SequenceReader* const> readers,
                   TransformerScratch& scratch) {
  std::vector<SequenceReader*> going;
  std::vector<SequenceRows> sequences;
  while (true) {
    going.clear();
    sequences.clear();
    for (SequenceReader* reader : readers) {
      const auto rows = reader->next();
      if (!rows) continue;
      going.push_back(reader);
      sequences.push_back({*rows, &reader->memory()});
    }
    if (going.empty()) return;
    const std::vector<at::Tensor> hidden = net.forward(sequences, scratch);
    for (size_t i = 0; i < going.size(); ++i) going[i]->accept(hidden[i]);
  }
}

}  // namespace beacon
