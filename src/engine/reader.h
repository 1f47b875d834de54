#pragma once
// Reading tokens: plan -> forward -> memory, step by step.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "memory/kv_memory.h"
#include "model/transformer.h"
#include "window/planner.h"

namespace beacon {

// What a reader builds up: the plan so far and the keys and values it led to, with what the ledger tells of
// them.
struct ReadState {
  Planner planner;
  KvMemory kv;
  std::vector<Span> beacon_spans;     // of each beacon row
  std::vector<WindowRecord> windows;  // closed so far

  ReadState clone() const { return {planner, kv.clone(), beacon_spans, windows}; }
};

// Which rows' hidden states are wanted: of raw tokens only; beacons never have any use.
enum class HiddenRows { kNone, kLast, kAll };

struct ReadRequest {
  std::span<const int32_t> ids;  // [B * n], batch rows one after the other
  // The youngest tokens read before those, as many as there are of the last stride at least; chosen echoes
  // may repeat them. Others need none.
  std::span<const int32_t> before;
  HiddenRows hidden = HiddenRows::kLast;
  // Called with the hidden states [B, rows, D] of tokens [first, first + rows) of this request, in order.
  std::function<void(int64_t first, const at::Tensor& hidden)> on_hidden;
  // Called after every step with the tokens read; false stops.
  std::function<bool(int64_t done)> on_step;
  // Called with each planned step before it is run; for parity and tests.
  std::function<void(const Step& step)> on_plan;
};

// Most rows of one forward; longer causal steps are cut, which changes nothing but the memory needed.
inline constexpr int64_t kMaxForwardRows = 2048;

// One request on its way through the network: gives out the rows of each forward and takes their results.
// What it is made of must outlive it. Construction throws kInvalidArgument, before anything is read, for an
// id outside the vocabulary. Chosen echoes are read one batch row at a time.
class SequenceReader {
 public:
  SequenceReader(const Transformer& net, ReadState& state, const ReadRequest& request);

  // The rows of the next forward over state.kv, valid until accept(); nothing when all ids are read.
  std::optional<ForwardRows> next();
  // The hidden states [B, hidden_rows, D] of those rows. Throws kCancelled when on_step said stop: what was
  // read until then stays, the rest is forgotten.
  void accept(const at::Tensor& hidden);

  KvMemory& memory() const { return state_.kv; }

 private:
  bool plan();
  ForwardRows rows(int64_t begin, int64_t end);
  void hand_out(const at::Tensor& hidden) const;
  void finish_step();
  void know_tokens();
  int32_t id_of(int64_t batch, int64_t token) const;

  const Transformer& net_;
  ReadState& state_;
  const ReadRequest& request_;
  bool echoes_;
  bool gated_;
  int64_t batch_;
  int64_t num_tokens_;
  int64_t first_token_;
  std::optional<Step> step_;      // the one that goes on
  int64_t begin_ = 0, end_ = 0;   // rows of it in the present forward
  int64_t last_raw_ = 0;          // row of its last token
  int64_t token_ = 0;             // the next one
  std::vector<int32_t> earlier_;  // chosen echoes: ids of the stride that was begun before
  std::vector<float> worth_;      // chosen echoes: of those tokens and of the request's
  std::vector<int32_t> ids_;
  std::vector<int32_t> beacon_rows_;
  std::vector<int64_t> raw_rows_;  // whose hidden states are handed out
  std::vector<uint8_t> flags_;
};

// Reads all ids. Throws kInvalidArgument, before anything is read, for an id outside the vocabulary;
// kCancelled when on_step said stop: what was read until then stays, the rest is forgotten.
void read_tokens(const Transformer& net, ReadState& state, const ReadRequest& request,
                 TransformerScratch& scratch);

// Reads what several readers hold, a forward of each at a time, with the weights read once for all of them.
// Their states must be distinct.
void read_together(const Transformer& net, std::span<SequenceReader* const> readers,
                   TransformerScratch& scratch);

}  // namespace beacon
