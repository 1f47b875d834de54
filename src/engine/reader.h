#pragma once
// Reading tokens: plan -> forward -> memory, step by step.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
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

// Reads all ids. Throws kInvalidArgument, before anything is read, for an id outside the vocabulary;
// kCancelled when on_step said stop: what was read until then stays, the rest is forgotten.
void read_tokens(const Transformer& net, ReadState& state, const ReadRequest& request,
                 TransformerScratch& scratch);

}  // namespace beacon
