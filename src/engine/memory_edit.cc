// Joining memories of several documents and cutting parts out of one (design: capacity, join, cut).
#include <beacon/memory.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "base/check.h"
#include "engine/memory_impl.h"
#include "memory/kv_splice.h"
#include "window/state.h"

namespace beacon {
namespace {

Span moved(const Span& span, int64_t by) { return {span.begin + by, span.end + by}; }

Span span_of(const OpenRow& row) {
  return {row.kind == SlotKind::kRaw ? row.token : row.span_begin, row.token + 1};
}

// What the ledger knows of rows that leave an open window without being condensed: runs of raw rows (ratio 0)
// and the beacons among them, with the ratio each really has.
void append_open_rows(const std::vector<OpenRow>& open, int64_t by, ReadState& out) {
  for (const OpenRow& row : open) {
    const Span span = moved(span_of(row), by);
    out.beacon_spans.push_back(span);
    const bool raw = row.kind == SlotKind::kRaw;
    const bool extends = raw && !out.windows.empty() && out.windows.back().ratio == 0 &&
                         out.windows.back().tokens.end == span.begin;
    if (extends) {
      out.windows.back().tokens.end = span.end;
      ++out.windows.back().num_beacons;
    } else {
      out.windows.push_back({span, raw ? 0 : static_cast<int>(span.end - span.begin), 1});
    }
  }
}

void append_closed(const ReadState& part, int64_t by, ReadState& out) {
  for (const Span& span : part.beacon_spans) out.beacon_spans.push_back(moved(span, by));
  for (WindowRecord window : part.windows) {
    window.tokens = moved(window.tokens, by);
    out.windows.push_back(window);
  }
}

void check_parts(const std::vector<const Memory*>& parts) {
  require(!parts.empty(), ErrorCode::kInvalidArgument,
          "no memories to join were given; one or more were expected");
  const Memory::Impl& first = parts.front()->impl();
  for (const Memory* part : parts) {
    const Memory::Impl& other = part->impl();
    require(other.model == first.model, ErrorCode::kMismatch,
            "the memories to join were loaded with different models");
    require(other.state.kv.geometry() == first.state.kv.geometry(), ErrorCode::kMismatch,
            "the memories to join hold different kinds of keys (memory type, or with and without beacons)");
  }
}

std::vector<int32_t> hash_as_tokens(const std::string& hex) {
  std::vector<int32_t> words;
  for (size_t i = 0; i + 8 <= hex.size(); i += 8)
    words.push_back(static_cast<int32_t>(std::stoul(hex.substr(i, 8), nullptr, 16)));
  return words;
}

}  // namespace

Memory Memory::join(const std::vector<const Memory*>& parts, bool beyond_positions) {
  const c10::InferenceMode inference;
  check_parts(parts);
  const Impl& first = parts.front()->impl();
  const Impl& last = parts.back()->impl();
  auto joined = std::make_unique<Impl>(first.model, last.options(), first.state.kv.geometry().type);

  std::vector<KvPiece> pieces = {{&first.state.kv, 0, first.state.kv.counts().sink}};
  KvCounts counts{first.state.kv.counts().sink, 0, last.state.kv.counts().open};
  int64_t tokens_before = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Memory* part = parts[i];
    const ReadState& state = part->impl().state;
    const KvCounts& own = state.kv.counts();
    const bool is_last = i + 1 == parts.size();  // one memory may come several times
    pieces.push_back({&state.kv, own.sink, own.beacons + own.open});
    counts.beacons += own.beacons + (is_last ? 0 : own.open);
    append_closed(state, tokens_before, joined->state);
    if (!is_last) {
      append_open_rows(state.planner.state().open, tokens_before, joined->state);
      tokens_before += state.planner.tokens_planned();
    }
    joined->recent.insert(joined->recent.end(), part->impl().recent.begin(), part->impl().recent.end());
    joined->hash.update(hash_as_tokens(part->source_hash()));
  }
  if (!beyond_positions) {
    check_positions(counts.total(), first.model->info().max_positions,
                    "join fewer memories, or build them at a larger ratio");
  }
  joined->state.planner = Planner(
      last.options(), shifted(last.state.planner.state(), tokens_before, counts.sink, counts.beacons));
  joined->state.kv = splice(first.state.kv.geometry(), pieces, counts, first.model->impl().net.rope(),
                            joined->state.planner.open_positions());
  joined->beyond_positions = beyond_positions;
  return Memory(std::move(joined));
}

Memory Memory::cut(int64_t from, int64_t to) const {
  const c10::InferenceMode inference;
  const ReadState& state = impl_->state;
  require(from >= 0 && from < to, ErrorCode::kInvalidArgument,
          "cannot cut tokens [{}, {}); a range with 0 <= from < to was expected", from, to);
  const KvCounts& own = state.kv.counts();
  auto cut = std::make_unique<Impl>(impl_->model, impl_->options(), state.kv.geometry().type);
  std::vector<KvPiece> pieces = {{&state.kv, 0, own.sink}};
  KvCounts counts{own.sink, 0, 0};
  int64_t row = 0;
  for (const WindowRecord& window : state.windows) {
    if (window.tokens.begin < to && window.tokens.end > from) {
      pieces.push_back({&state.kv, own.sink + row, window.num_beacons});
      counts.beacons += window.num_beacons;
      cut->state.windows.push_back(window);
      cut->state.beacon_spans.insert(cut->state.beacon_spans.end(), state.beacon_spans.begin() + row,
                                     state.beacon_spans.begin() + row + window.num_beacons);
    }
    row += window.num_beacons;
  }
  BEACON_CHECK(row == own.beacons);
  const std::vector<OpenRow>& open = state.planner.state().open;
  const bool reaches_open =
      !open.empty() && span_of(open.front()).begin < to && state.planner.tokens_planned() > from;
  if (reaches_open) {
    counts.open = own.open;
    pieces.push_back({&state.kv, own.sink + own.beacons, own.open});
    cut->state.planner =
        Planner(impl_->options(), shifted(state.planner.state(), 0, counts.sink, counts.beacons));
    cut->pending = impl_->pending;
  } else {
    cut->state.planner =
        Planner(impl_->options(), without_open_window(state.planner.state(), counts.sink, counts.beacons));
    pieces.push_back({&state.kv, own.sink + own.beacons, 0});
  }
  require(counts.beacons + counts.open > 0, ErrorCode::kInvalidArgument,
          "nothing of the memory lies in tokens [{}, {}); it covers {} tokens", from, to,
          state.planner.tokens_planned());
  cut->state.kv = splice(state.kv.geometry(), pieces, counts, impl_->model->impl().net.rope(),
                         cut->state.planner.open_positions());
  cut->hash = impl_->hash;
  cut->recent = impl_->recent;
  cut->title = impl_->title;
  cut->beyond_positions = impl_->beyond_positions;
  return Memory(std::move(cut));
}

}  // namespace beacon
