#include "engine/scoring.h"

#include <c10/core/InferenceMode.h>

#include "base/check.h"
#include "engine/log_probabilities.h"
#include "engine/memory_impl.h"
#include "engine/window_setup.h"

namespace beacon {
namespace {

WindowOptions window_options(const ScoreOptions& wanted, const Model::Impl& model, int64_t tokens) {
  WindowOptions options = resolve_window(wanted.session.beacons, model);
  if (options.expected_tokens == 0) options.expected_tokens = tokens;
  switch (wanted.remembering) {
    case Remembering::kBeacons:
      break;
    case Remembering::kEverything:
      options.enabled = false;
      break;
    case Remembering::kNothing:
      options.stride = options.window;
      options.sink = 0;
      [[fallthrough]];
    case Remembering::kTail:
      options.forget = true;
      break;
  }
  validate(options);
  return options;
}

}  // namespace

std::vector<float> score_tokens(const Model& model, const ScoreOptions& wanted, std::span<const int32_t> ids,
                                const ProgressCallback& progress) {
  const auto total = static_cast<int64_t>(ids.size());
  require(wanted.from >= 1 && wanted.from < total, ErrorCode::kInvalidArgument,
          "scoring: expected a first token from 1 to {}, found {}; the text has {} tokens", total - 1,
          wanted.from, total);
  const c10::InferenceMode inference;
  const Model::Impl& impl = model.impl();
  const int32_t last = ids.back();  // the only one that is not read
  require(last >= 0 && last < model.info().vocab_size, ErrorCode::kInvalidArgument,
          "token id {} is outside the vocabulary of {} tokens", last, model.info().vocab_size);
  const WindowOptions options = window_options(wanted, impl, total);
  const at::ScalarType type = memory_scalar(wanted.session.memory_type, impl);
  ReadState state{Planner(options), KvMemory(kv_geometry(impl, options, type)), {}, {}};
  if (!wanted.session.beacons.beyond_positions) {
    check_positions(state.planner.forecast(total - 1).positions, model.info().max_positions,
                    "score fewer tokens or use a larger ratio, or read on regardless with beyond_positions");
  }
  TransformerScratch scratch;
  set_compute(impl, scratch);

  // Hidden states cost the last layer's feed-forward part: rows nobody scores do without.
  const int64_t silent = wanted.from - 1;
  int64_t offset = 0;
  ReadRequest request;
  request.on_step = [&](int64_t done) { return !progress || progress({offset + done, total}); };
  request.hidden = HiddenRows::kNone;
  request.ids = ids.first(static_cast<size_t>(silent));
  if (silent > 0) read_tokens(impl.net, state, request, scratch);

  std::vector<float> scores(static_cast<size_t>(total - wanted.from));
  offset = silent;
  request.hidden = HiddenRows::kAll;
  request.ids = ids.subspan(static_cast<size_t>(silent), scores.size());
  request.before = ids.first(static_cast<size_t>(silent));
  request.on_hidden = [&](int64_t first, const at::Tensor& hidden) {
    const auto begin = static_cast<size_t>(first);
    const auto rows = static_cast<size_t>(hidden.size(1));
    const auto targets = ids.subspan(static_cast<size_t>(wanted.from) + begin, rows);
    log_probabilities(impl.net, hidden.select(0, 0), targets, std::span(scores).subspan(begin, rows),
                      scratch);
  };
  read_tokens(impl.net, state, request, scratch);
  return scores;
}

std::string reading_options_json(const Model& model, const ScoreOptions& wanted) {
  const int64_t expected = wanted.session.beacons.expected_tokens;
  return window_to_json(window_options(wanted, model.impl(), expected));
}

}  // namespace beacon
