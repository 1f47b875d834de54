#include <ATen/Functions.h>
#include <beacon/batch.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "engine/answer.h"
#include "engine/memory_impl.h"
#include "engine/reader.h"

namespace beacon {
namespace {

using Clock = std::chrono::steady_clock;

// The reading of a memory's pending token.
class PendingFeed {
 public:
  PendingFeed(const Transformer& net, Memory::Impl& memory)
      : memory_(memory),
        id_(*memory.pending),
        request_(make_request()),
        reader_(net, memory.state, request_) {}
  PendingFeed(const PendingFeed&) = delete;
  PendingFeed& operator=(const PendingFeed&) = delete;

  SequenceReader& reader() { return reader_; }
  void finish() {
    memory_.remember({&id_, 1});
    memory_.pending.reset();
  }

 private:
  ReadRequest make_request() {
    ReadRequest request;
    request.ids = {&id_, 1};
    request.before = memory_.recent;
    request.on_hidden = [this](int64_t, const at::Tensor& rows) {
      memory_.last_hidden = rows.select(1, rows.size(1) - 1).clone();
    };
    return request;
  }

  Memory::Impl& memory_;
  int32_t id_;
  ReadRequest request_;
  SequenceReader reader_;
};

struct Member {
  Session* session;
  Memory::Impl* memory;
  std::unique_ptr<Answer> growing;
  Clock::time_point start;
  std::exception_ptr error;

  BatchAnswer answer() const {
    BatchAnswer out{session, growing->finish(), error};
    out.result.generate_s = std::chrono::duration<double>(Clock::now() - start).count();
    return out;
  }
};

}  // namespace

struct BEACON_LOCAL Batch::Impl {
  explicit Impl(std::shared_ptr<const Model> of) : model(std::move(of)) {
    set_compute(model->impl(), scratch);
  }

  void feed_pending();
  at::Tensor logits();

  std::shared_ptr<const Model> model;
  std::vector<Member> members;
  TransformerScratch scratch;
};

void Batch::Impl::feed_pending() {
  const c10::InferenceMode inference;
  std::vector<std::unique_ptr<PendingFeed>> feeds;
  std::vector<SequenceReader*> readers;
  for (const Member& member : members) {
    if (!member.memory->pending) continue;
    feeds.push_back(std::make_unique<PendingFeed>(model->impl().net, *member.memory));
    readers.push_back(&feeds.back()->reader());
  }
  read_together(model->impl().net, readers, scratch);
  for (const auto& feed : feeds) feed->finish();
}

// f32 [members, V].
at::Tensor Batch::Impl::logits() {
  const c10::InferenceMode inference;
  std::vector<at::Tensor> hidden;
  for (const Member& member : members) hidden.push_back(member.memory->last_hidden);
  return model->impl().net.logits(at::cat(hidden), scratch).cpu();
}

Batch::Batch(std::shared_ptr<const Model> model) : impl_(std::make_unique<Impl>(std::move(model))) {}
Batch::~Batch() = default;
Batch::Batch(Batch&&) noexcept = default;
Batch& Batch::operator=(Batch&&) noexcept = default;

int64_t Batch::size() const { return static_cast<int64_t>(impl_->members.size()); }

void Batch::add(Session& session, const GenerateOptions& options, TokenCallback on_token) {
  require(&session.model() == impl_->model.get(), ErrorCode::kMismatch,
          "the session belongs to another model object than the batch; sessions of one model were expected");
  Memory::Impl& memory = session.memory().impl();
  for (const Member& member : impl_->members) {
    require(member.memory != &memory, ErrorCode::kInvalidArgument,
            "the session is in the batch already; it can be added again when its answer is complete");
  }
  require(memory.last_hidden.defined() || memory.pending, ErrorCode::kInvalidArgument,
          "nothing was read yet, so there is nothing to continue; feed a prompt first");
  impl_->members.push_back({&session, &memory, std::make_unique<Answer>(options, memory, std::move(on_token)),
                            Clock::now(), nullptr});
}

BatchAnswer Batch::remove(Session& session) {
  auto& members = impl_->members;
  const auto found = std::find_if(members.begin(), members.end(),
                                  [&](const Member& member) { return member.session == &session; });
  require(found != members.end(), ErrorCode::kInvalidArgument, "the session is not in the batch");
  BatchAnswer answer = found->answer();
  if (answer.result.finish_reason.empty()) answer.result.finish_reason = "cancelled";
  members.erase(found);
  return answer;
}

std::vector<BatchAnswer> Batch::step() {
  auto& members = impl_->members;
  std::vector<BatchAnswer> answers;
  // Before the step as well: an answer of no tokens, or one that found no room.
  const auto take_complete = [&] {
    std::erase_if(members, [&](const Member& member) {
      if (member.error == nullptr && !member.growing->done()) return false;
      answers.push_back(member.answer());
      return true;
    });
  };
  take_complete();
  if (members.empty()) return answers;
  impl_->feed_pending();
  const at::Tensor logits = impl_->logits();
  const auto vocabulary = static_cast<size_t>(logits.size(1));
  for (size_t i = 0; i < members.size(); ++i) {
    try {
      members[i].growing->accept({logits.const_data_ptr<float>() + i * vocabulary, vocabulary});
    } catch (...) {
      members[i].error = std::current_exception();
    }
  }
  take_complete();
  return answers;
}

}  // namespace beacon
