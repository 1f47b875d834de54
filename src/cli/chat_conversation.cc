#include <algorithm>

#include "base/check.h"
#include "cli/chat_loop.h"
#include "cli/ledger_report.h"
#include "cli/stream_printer.h"
#include "cli/terminal.h"

namespace beacon::cli {
namespace {

// Tokens at the end of a context that wait for the prompt: a tokenizer may join its last characters with what
// follows.
constexpr size_t kHeldBack = 16;

}  // namespace

Chat::Chat(const ChatArgs& args, std::shared_ptr<const Model> model, InterruptGuard& interrupt)
    : args_(args),
      interrupt_(interrupt),
      format_(model, choose_template(*model, args.chat_template)),
      session_(model, args.session) {}

void Chat::open(const std::string& context) {
  context_ = context;
  opened_ = format_.opening(args_.system, context);
  opened_.resize(opened_.size() - std::min(opened_.size(), kHeldBack));
  if (opened_.empty()) return;
  ProgressBar bar("reading", args_.output.progress);
  session_.feed(opened_, bar.callback(interrupt_));
}

std::vector<int32_t> Chat::turn_ids(const std::string& prompt) {
  if (answered_) return format_.next_turn(prompt, answer_has_end_);
  std::vector<int32_t> ids = format_.first_turn(args_.system, context_, prompt);
  const bool goes_on = ids.size() > opened_.size() && std::equal(opened_.begin(), opened_.end(), ids.begin());
  if (goes_on)
    ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(opened_.size()));
  else
    forget_opening();  // the prompt changed ids of the context: read all of it again
  return ids;
}

void Chat::turn(const std::string& prompt) {
  const std::vector<int32_t> ids = turn_ids(prompt);
  const auto before = session_.mark();
  try {
    ProgressBar bar("reading", args_.output.progress);
    session_.feed(ids, bar.callback(interrupt_));
  } catch (const Error&) {
    session_.rewind(*before);
    throw;
  }
  answer();
}

void Chat::answer() {
  StreamPrinter printer(interrupt_, true);
  const GenerateResult result = session_.generate(args_.answer, printer.callback());
  printer.finish(result.text);
  answered_ = true;
  answer_has_end_ = result.finish_reason == "eos";
  printer.rethrow();
  // What comes before the meter is meant for the answer; after it, for the conversation.
  if (interrupt_.requested()) interrupt_.rearm();
  std::string meter = meter_line(session_.ledger());
  if (result.finish_reason == "length") meter += " (answer cut at --max-new-tokens)";
  if (result.finish_reason == "capacity") meter += " (no positions left: /reset, or a larger --ratio)";
  if (result.finish_reason == "cancelled") meter += " (answer stopped)";
  note(dim(meter));
}

void Chat::save(const std::string& path) const { session_.save(path); }

void Chat::load(const std::string& path) {
  session_.load(path);
  answered_ = true;
  answer_has_end_ = true;
}

void Chat::forget_opening() {
  session_.reset();
  opened_.clear();
}

void Chat::reset() {
  forget_opening();
  answered_ = false;
  context_.clear();
}

}  // namespace beacon::cli
