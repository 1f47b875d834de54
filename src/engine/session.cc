#include <ATen/Functions.h>
#include <beacon/session.h>
#include <c10/core/InferenceMode.h>

#include <chrono>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "engine/answer.h"
#include "engine/log_probabilities.h"
#include "engine/memory_impl.h"
#include "engine/window_setup.h"
#include "ops/device.h"
#include "window/capacity.h"

namespace beacon {

class BEACON_LOCAL Session::Mark {
 public:
  Mark(const Session::Impl* of, std::unique_ptr<Memory::Impl> without_rows, KvMemory::OpenWindow open_window)
      : session(of), memory(std::move(without_rows)), open(std::move(open_window)) {}

  const Session::Impl* session;
  std::unique_ptr<Memory::Impl> memory;  // everything but the keys and values
  KvMemory::OpenWindow open;
};

struct BEACON_LOCAL Session::Impl {
  Impl(std::shared_ptr<const Model> of, const SessionOptions& wanted)
      : model(std::move(of)), options(wanted), memory(empty_memory()) {
    set_compute(model->impl(), scratch);
  }

  Memory empty_memory() const {
    const Model::Impl& m = model->impl();
    auto impl = std::make_unique<Memory::Impl>(model, resolve_window(options.beacons, m),
                                               memory_scalar(options.memory_type, m));
    impl->beyond_positions = options.beacons.beyond_positions;
    return Memory(std::move(impl));
  }

  Memory::Impl& state() const { return memory.impl(); }

  std::shared_ptr<const Model> model;
  SessionOptions options;
  Memory memory;
  TransformerScratch scratch;
};

namespace {

// A ratio that would hold the text, in words.
std::string capacity_advice(const Memory::Impl& memory, int64_t more_tokens) {
  WindowOptions options = memory.options();
  const bool enabled = std::exchange(options.enabled, true);
  const int64_t tokens = memory.state.planner.tokens_planned() + more_tokens;
  if (const auto ratio = smallest_ratio_that_holds(options, tokens)) {
    return fmt::format("read it {}at ratio {} or more, or extend the positions with a rope scaling",
                       enabled ? "" : "with beacons ", *ratio);
  }
  return "no ratio of this window holds it: extend the positions with a rope scaling, or cut the text";
}

void check_capacity(const Memory::Impl& memory, int64_t more_tokens) {
  if (memory.beyond_positions) return;
  const int64_t max_positions = memory.model->info().max_positions;
  const int64_t needed = memory.state.planner.forecast(more_tokens).positions;
  if (needed > max_positions) check_positions(needed, max_positions, capacity_advice(memory, more_tokens));
}

using HiddenSink = std::function<void(int64_t first, const at::Tensor& hidden)>;

// From this many tokens on a feed gets exactly the memory it will need; shorter ones grow it by a share.
constexpr int64_t kLongText = 512;

// Feeds ids (the pending token first) and keeps the last hidden state. In a plain session long texts go in
// pieces, or one step would hold all of them.
void read(Session::Impl& session, std::span<const int32_t> given, HiddenRows hidden,
          const HiddenSink& on_hidden, const ProgressCallback& progress) {
  const c10::InferenceMode inference;
  Memory::Impl& memory = session.state();
  std::vector<int32_t> ids;
  if (memory.pending) ids.push_back(*memory.pending);
  const auto offset = static_cast<int64_t>(ids.size());
  ids.insert(ids.end(), given.begin(), given.end());
  if (ids.empty()) return;
  const auto total = static_cast<int64_t>(ids.size());
  check_capacity(memory, total);
  if (total >= kLongText) memory.state.kv.expect(memory.state.planner.forecast(total).peak_rows);

  const int64_t before = memory.state.planner.tokens_planned();
  const auto remember_read = [&] {
    const auto done = static_cast<size_t>(memory.state.planner.tokens_planned() - before);
    memory.remember(std::span(ids).first(done));
    if (done > 0) memory.pending.reset();
  };
  int64_t piece_begin = 0;
  ReadRequest request;
  request.before = memory.recent;
  request.hidden = hidden;
  request.on_hidden = [&](int64_t first, const at::Tensor& rows) {
    memory.last_hidden = rows.select(1, rows.size(1) - 1).clone();
    if (on_hidden) on_hidden(piece_begin + first - offset, rows);
  };
  request.on_step = [&](int64_t done) { return !progress || progress({piece_begin + done, total}); };
  const int64_t piece = memory.options().enabled ? total : kMaxForwardRows / 2;
  try {
    for (; piece_begin < total; piece_begin += piece) {
      const auto count = static_cast<size_t>(std::min(piece, total - piece_begin));
      request.ids = std::span(ids).subspan(static_cast<size_t>(piece_begin), count);
      read_tokens(session.model->impl().net, memory.state, request, session.scratch);
    }
    ops::synchronize(session.model->impl().device);
  } catch (...) {
    remember_read();
    throw;
  }
  remember_read();
}

}  // namespace

Session::Session(std::shared_ptr<const Model> model, const SessionOptions& options)
    : impl_(std::make_unique<Impl>(std::move(model), options)) {}
Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

const Model& Session::model() const { return *impl_->model; }
const Memory& Session::memory() const { return impl_->memory; }
Ledger Session::ledger() const { return impl_->memory.ledger(); }

void Session::feed(std::span<const int32_t> ids, const ProgressCallback& progress) {
  read(*impl_, ids, HiddenRows::kLast, {}, progress);
}

void Session::feed_text(std::string_view text, const ProgressCallback& progress) {
  const bool first = impl_->state().state.planner.tokens_planned() == 0;
  feed(impl_->model->tokenizer().encode(text, {.add_special = first}), progress);
}

void Session::feed_chat(const std::string& template_name, const std::vector<ChatMessage>& messages,
                        const ProgressCallback& progress) {
  feed(encode_chat(impl_->model->tokenizer(), template_name, messages, /*add_generation_prompt=*/true),
       progress);
}

GenerateResult Session::generate(const GenerateOptions& options, const TokenCallback& on_token) {
  const auto start = std::chrono::steady_clock::now();
  Memory::Impl& memory = impl_->state();
  const bool had_pending = memory.pending.has_value();
  if (had_pending) read(*impl_, {}, HiddenRows::kLast, {}, {});
  require(memory.last_hidden.defined(), ErrorCode::kInvalidArgument,
          "nothing was read yet, so there is nothing to continue; feed a prompt first");

  const auto prompt_done = std::chrono::steady_clock::now();
  Answer answer(options, memory, on_token);
  const auto next_logits = [&] {
    const c10::InferenceMode inference;
    return impl_->model->impl().net.logits(memory.last_hidden, impl_->scratch).cpu();
  };
  while (!answer.done()) {
    if (memory.pending) read(*impl_, {}, HiddenRows::kLast, {}, {});
    const at::Tensor logits = next_logits();
    answer.accept({logits.const_data_ptr<float>(), static_cast<size_t>(logits.numel())});
  }
  GenerateResult result = answer.finish();
  result.prompt_tokens = had_pending ? 1 : 0;
  result.prompt_s = std::chrono::duration<double>(prompt_done - start).count();
  result.generate_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - prompt_done).count();
  return result;
}

GenerateResult Session::generate_text(std::string_view prompt, const GenerateOptions& options,
                                      const TokenCallback& on_token) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t before = ledger().tokens_read;
  feed_text(prompt);
  const double prompt_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const int64_t prompt_tokens = ledger().tokens_read - before;
  GenerateResult result = generate(options, on_token);
  result.prompt_tokens += prompt_tokens;
  result.prompt_s += prompt_s;
  return result;
}

std::vector<float> Session::score(std::span<const int32_t> ids, const ProgressCallback& progress) {
  const c10::InferenceMode inference;
  const Transformer& net = impl_->model->impl().net;
  std::vector<float> scores(ids.size(), 0.0F);
  // Hidden row i of tokens from `first` on predicts token first + i + 1; the last row predicts none of these.
  const auto score_rows = [&](int64_t first, const at::Tensor& hidden) {
    const auto target = static_cast<size_t>(first + 1);
    const auto rows = std::min(static_cast<size_t>(hidden.size(0)), ids.size() - target);
    log_probabilities(net, hidden.narrow(0, 0, static_cast<int64_t>(rows)), ids.subspan(target, rows),
                      std::span(scores).subspan(target, rows), impl_->scratch);
  };
  const Memory::Impl& memory = impl_->state();
  const at::Tensor before = memory.pending ? at::Tensor() : memory.last_hidden;
  read(
      *impl_, ids, HiddenRows::kAll,
      [&](int64_t first, const at::Tensor& hidden) { score_rows(first, hidden.squeeze(0)); }, progress);
  if (!ids.empty() && before.defined()) score_rows(-1, before);  // after read() has looked at the ids
  return scores;
}

void Session::set_memory(Memory memory) {
  require(memory.impl().model == impl_->model, ErrorCode::kMismatch,
          "the memory belongs to another model object; load it with this session's model");
  impl_->memory = std::move(memory);
  impl_->state().beyond_positions = impl_->options.beacons.beyond_positions;
}

void Session::save(const std::filesystem::path& path, const std::string& title) const {
  impl_->memory.save(path, title);
}
void Session::load(const std::filesystem::path& path) { set_memory(Memory::load(path, impl_->model)); }

std::shared_ptr<const Session::Mark> Session::mark() const {
  const c10::InferenceMode inference;
  const Memory::Impl& memory = impl_->state();
  auto copy = std::make_unique<Memory::Impl>(memory.model, memory.options(), memory.state.kv.geometry().type);
  copy->state.planner = memory.state.planner;
  copy->state.beacon_spans = memory.state.beacon_spans;
  copy->state.windows = memory.state.windows;
  copy->hash = memory.hash;
  copy->recent = memory.recent;
  copy->pending = memory.pending;
  copy->sampler = memory.sampler;
  copy->sampler_seed = memory.sampler_seed;
  copy->last_hidden = memory.last_hidden;
  copy->title = memory.title;
  return std::make_shared<const Mark>(impl_.get(), std::move(copy), memory.state.kv.copy_open());
}

void Session::rewind(const Mark& mark) {
  const c10::InferenceMode inference;
  require(mark.session == impl_.get(), ErrorCode::kInvalidArgument, "the mark was made by another session");
  Memory::Impl& memory = impl_->state();
  const KvCounts& now = memory.state.kv.counts();
  require(mark.open.counts.sink <= now.sink && mark.open.counts.beacons <= now.beacons &&
              mark.memory->state.planner.tokens_planned() <= memory.state.planner.tokens_planned(),
          ErrorCode::kInvalidArgument, "the mark is ahead of the session: it was reset or rewound past it");
  memory.state.kv.rewind(mark.open);
  memory.state.planner = mark.memory->state.planner;
  memory.state.beacon_spans = mark.memory->state.beacon_spans;
  memory.state.windows = mark.memory->state.windows;
  memory.hash = mark.memory->hash;
  memory.recent = mark.memory->recent;
  memory.pending = mark.memory->pending;
  memory.sampler = mark.memory->sampler;
  memory.sampler_seed = mark.memory->sampler_seed;
  memory.last_hidden = mark.memory->last_hidden;
  memory.title = mark.memory->title;
}

Session Session::clone() const {
  auto copy = std::make_unique<Impl>(impl_->model, impl_->options);
  copy->memory = impl_->memory.clone();
  return Session(std::move(copy));
}

void Session::reset() { impl_->memory = impl_->empty_memory(); }

}  // namespace beacon
