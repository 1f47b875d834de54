#pragma once
/// \file batch.h
/// Generating for several sessions at once.
///
///     beacon::Batch batch(model);
///     for (beacon::Session& session : sessions) batch.add(session, {});  // each has read its prompt
///     while (batch.size() > 0)
///       for (beacon::BatchAnswer& answer : batch.step()) print(answer.result.text);
#include <beacon/session.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <vector>

namespace beacon {

/// The answer of one session of a batch.
struct BatchAnswer {
  Session* session = nullptr;
  GenerateResult result;     ///< generate_s counts from add() on
  std::exception_ptr error;  ///< what its sampling or its callback threw; `result` is then what came before
};

/// Sessions of one model that generate together: every step gives each of them a token and reads the weights
/// once for all, where sessions one after the other read them once each. A session gets the tokens that
/// Session::generate() would give it, up to the rounding of sums. Sessions may come and go between steps.
/// Used by one thread at a time.
class BEACON_API Batch {
 public:
  explicit Batch(std::shared_ptr<const Model> model);
  ~Batch();
  Batch(Batch&&) noexcept;
  Batch& operator=(Batch&&) noexcept;

  /// Takes in a session that has read something. It is not owned, must outlive its answer, and must not be
  /// used otherwise until then. Throws kMismatch for a session of another model, kInvalidArgument for one
  /// that is in the batch already or has nothing to continue, and as Session::generate() for bad options.
  void add(Session& session, const GenerateOptions& options, TokenCallback on_token = {});
  /// Takes a session out again, with the answer so far ("cancelled"). Throws kInvalidArgument when it is not
  /// in.
  BatchAnswer remove(Session& session);

  /// A token for every session. The answers that are complete, in the order of add(); their sessions are out.
  /// When reading itself fails it throws, and no session of the batch can go on.
  std::vector<BatchAnswer> step();

  int64_t size() const;  ///< sessions that are still answering

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace beacon
