#include "engine/reader.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "base/check.h"

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

class StepRunner {
 public:
  StepRunner(const Transformer& net, ReadState& state, const ReadRequest& request,
             TransformerScratch& scratch)
      : net_(net),
        state_(state),
        request_(request),
        scratch_(scratch),
        batch_(state.kv.geometry().batch),
        num_tokens_(static_cast<int64_t>(request.ids.size()) / batch_),
        first_token_(state.planner.tokens_planned()) {}

  void run(const Step& step, std::span<const OpenRow> open, bool last_step) {
    const int64_t rows = step.num_rows();
    const int64_t piece = step.causal && step.copy_from.empty() ? kMaxForwardRows : rows;
    if (gated()) flags_ = beacon_flags(state_, open, step);
    token_ = step.token_begin;
    int64_t last_raw = rows - 1;
    while (step.slots[static_cast<size_t>(last_raw)] != SlotKind::kRaw) --last_raw;
    for (int64_t begin = 0, end = 0; begin < rows; begin = end) {
      end = begin + piece;
      if (end > last_raw)
        end = rows;  // the last piece holds the last token, whose hidden state may be wanted
      run_rows(step, begin, end, last_step && end == rows);
    }
    if (step.close.closes) {
      state_.kv.close({step.close.sink, step.close.beacons, step.close.keep}, net_.rope());
      state_.beacon_spans.insert(state_.beacon_spans.end(), step.close.beacon_spans.begin(),
                                 step.close.beacon_spans.end());
      state_.windows.insert(state_.windows.end(), step.close.windows.begin(), step.close.windows.end());
    }
  }

 private:
  bool gated() const { return net_.weights().layers.front().beacon.gate.defined(); }

  void run_rows(const Step& step, int64_t begin, int64_t end, bool last) {
    const int64_t rows = end - begin;
    const auto vocabulary = static_cast<int32_t>(net_.config().vocab_size);
    ids_.assign(static_cast<size_t>(batch_ * rows), vocabulary);
    beacon_rows_.clear();
    raw_rows_.clear();
    const int64_t token = token_;
    for (int64_t r = 0; r < rows; ++r) {
      const SlotKind kind = step.slots[static_cast<size_t>(begin + r)];
      if (kind == SlotKind::kBeacon) beacon_rows_.push_back(static_cast<int32_t>(r));
      if (kind != SlotKind::kRaw) continue;
      for (int64_t b = 0; b < batch_; ++b) {
        ids_[static_cast<size_t>(b * rows + r)] =
            request_.ids[static_cast<size_t>(b * num_tokens_ + token_ - first_token_)];
      }
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
    if (gated()) in.beacon_keys = std::span(flags_).first(static_cast<size_t>(step.memory_rows() + end));
    if (request_.hidden == HiddenRows::kAll) {
      in.hidden_rows = raw_rows_.empty() ? 0 : rows - raw_rows_.front();
    } else if (request_.hidden == HiddenRows::kLast && last && !raw_rows_.empty()) {
      raw_rows_.erase(raw_rows_.begin(), raw_rows_.end() - 1);
      in.hidden_rows = rows - raw_rows_.back();
    }
    const at::Tensor hidden = net_.forward(in, state_.kv, scratch_);
    if (in.hidden_rows > 0) hand_out(hidden, rows, token_ - static_cast<int64_t>(raw_rows_.size()));
    BEACON_CHECK(token_ >= token);
  }

  // Of the rows computed only raw tokens are handed out.
  void hand_out(const at::Tensor& hidden, int64_t rows, int64_t token) {
    if (!request_.on_hidden) return;
    at::Tensor index = at::empty({static_cast<int64_t>(raw_rows_.size())}, at::kLong);
    for (size_t i = 0; i < raw_rows_.size(); ++i)
      index.data_ptr<int64_t>()[i] = raw_rows_[i] - (rows - hidden.size(1));
    request_.on_hidden(token - first_token_, hidden.index_select(1, index));
  }

  const Transformer& net_;
  ReadState& state_;
  const ReadRequest& request_;
  TransformerScratch& scratch_;
  int64_t batch_;
  int64_t num_tokens_;
  int64_t first_token_;
  int64_t token_ = 0;
  std::vector<int32_t> ids_;
  std::vector<int32_t> beacon_rows_;
  std::vector<int64_t> raw_rows_;
  std::vector<uint8_t> flags_;
};

}  // namespace

void read_tokens(const Transformer& net, ReadState& state, const ReadRequest& request,
                 TransformerScratch& scratch) {
  const int64_t batch = state.kv.geometry().batch;
  BEACON_CHECK(static_cast<int64_t>(request.ids.size()) % batch == 0 && state.planner.tokens_pending() == 0);
  for (const int32_t id : request.ids) {
    require(id >= 0 && id < net.config().vocab_size, ErrorCode::kInvalidArgument,
            "token id {} is outside the vocabulary of {} tokens", id, net.config().vocab_size);
  }
  const int64_t num_tokens = static_cast<int64_t>(request.ids.size()) / batch;
  StepRunner runner(net, state, request, scratch);
  const int64_t first = state.planner.tokens_planned();
  state.planner.feed(num_tokens);
  while (true) {
    const std::vector<OpenRow> open = state.planner.state().open;
    const auto step = state.planner.next();
    if (!step) break;
    if (request.on_plan) request.on_plan(*step);
    runner.run(*step, open, state.planner.tokens_pending() == 0);
    if (request.on_step && !request.on_step(step->token_end - first)) {
      if (state.planner.tokens_pending() == 0) break;
      state.planner.discard_pending();
      fail(ErrorCode::kCancelled, "reading was stopped after {} of {} tokens; they are in memory",
           step->token_end - first, num_tokens);
    }
  }
}

}  // namespace beacon
