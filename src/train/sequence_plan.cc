#include "train/sequence_plan.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "window/planner.h"

namespace beacon {
namespace {

struct BankRow {
  int64_t row = -1;  // in the bank; -1: not kept
  bool beacon = false;
};

// The memory of the sequence so far, in bank rows.
class Rows {
 public:
  PlannedStep plan(Step step, bool last) {
    PlannedStep out;
    for (const auto* part : {&sink_, &beacons_, &open_}) {
      for (const BankRow& r : *part) {
        out.memory.push_back(r.row);
        out.beacon_keys.push_back(r.beacon ? 1 : 0);
      }
    }
    out.ratio = ratio_;
    int64_t token = step.token_begin;
    for (const SlotKind kind : step.slots) {
      out.beacon_keys.push_back(kind == SlotKind::kRaw ? 0 : 1);
      out.tokens.push_back(kind == SlotKind::kRaw ? token++ : -1);
    }
    BEACON_CHECK(static_cast<int64_t>(out.memory.size()) == step.memory_rows() && token == step.token_end);
    if (!last) keep_rows(step, out);
    out.step = std::move(step);
    return out;
  }

  int64_t bank_rows() const { return bank_rows_; }

 private:
  // Gives a place to each row of the step that a later one may see, and moves the memory on.
  void keep_rows(const Step& step, PlannedStep& out) {
    const Close& close = step.close;
    std::vector<BankRow> rows = open_;
    for (const SlotKind kind : step.slots) rows.push_back({-1, kind != SlotKind::kRaw});
    std::vector<uint8_t> wanted(rows.size(), close.closes ? 0 : 1);
    for (const auto* part : {&close.sink, &close.beacons, &close.keep}) {
      for (const int32_t i : *part) wanted[static_cast<size_t>(i)] = 1;
    }
    out.bank_begin = bank_rows_;
    for (size_t i = open_.size(); i < rows.size(); ++i) {
      if (wanted[i] == 0) continue;
      out.kept.push_back(static_cast<int64_t>(i - open_.size()));
      rows[i].row = bank_rows_++;
    }
    if (!close.closes) {
      open_ = std::move(rows);
      return;
    }
    const auto pick = [&](const std::vector<int32_t>& indexes, std::vector<BankRow>& to) {
      for (const int32_t i : indexes) to.push_back(rows[static_cast<size_t>(i)]);
    };
    pick(close.sink, sink_);
    pick(close.beacons, beacons_);
    open_.clear();
    pick(close.keep, open_);
    if (!close.windows.empty()) ratio_ = close.windows.back().ratio;
  }

  std::vector<BankRow> sink_, beacons_, open_;
  int64_t bank_rows_ = 0;
  int ratio_ = -1;
};

}  // namespace

SequencePlan plan_sequence(const WindowOptions& options, int64_t num_tokens, std::span<const float> worth) {
  BEACON_CHECK(options.training);
  const auto length = static_cast<size_t>(num_tokens);
  Planner planner(options);
  planner.feed(num_tokens);
  SequencePlan plan{.num_tokens = num_tokens, .echoes = is_echo(options.attention)};
  Rows rows;
  while (auto step = planner.next({0, worth.first(std::min(length, worth.size()))})) {
    plan.steps.push_back(rows.plan(std::move(*step), planner.tokens_pending() == 0));
  }
  plan.bank_rows = rows.bank_rows();
  for (size_t begin = length; length > 0 && begin < worth.size(); begin += length) {
    Planner other(options);
    other.feed(num_tokens);
    std::vector<Step>& steps = plan.others.emplace_back();
    while (auto step = other.next({0, worth.subspan(begin, length)})) steps.push_back(std::move(*step));
  }
  return plan;
}

}  // namespace beacon
