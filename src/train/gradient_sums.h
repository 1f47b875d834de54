#pragma once
// Gradients summed over the processes of a run, in host memory while the backward pass still works on others.
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "model/beacon_parameters.h"
#include "train/communicator.h"
#include "train/nccl_sums.h"

namespace beacon {

// Belongs to the thread that calls it. Puts hooks on the parameters: one at a time for them. With one process
// it does nothing.
class GradientSums {
 public:
  // `parameters` in the order of a forward pass; a backward pass finishes them from the last on, and in that
  // order they are summed, on every rank: by NCCL where it is given, else in host memory. The communicator
  // must outlive this.
  GradientSums(std::vector<NamedParameter> parameters, Communicator& communicator,
               std::unique_ptr<NcclSums> nccl = nullptr);
  // Ends after the sum that is under way; other ranks must come to that one.
  ~GradientSums();
  GradientSums(const GradientSums&) = delete;
  GradientSums& operator=(const GradientSums&) = delete;

  // What is added to a gradient from now on is the last of it: the passage over the first step of a sequence.
  // Until finish() the communicator is not to be used. Not calling it costs time alone.
  void begin();
  // When it returns, every gradient is the sum over all ranks; missing ones count as zero. Throws what the
  // communicator threw.
  void finish();

 private:
  struct Hook;
  void complete(size_t index);
  void work();
  void sum(size_t index) const;

  std::vector<NamedParameter> parameters_;
  Communicator& communicator_;
  std::unique_ptr<NcclSums> nccl_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool begun_ = false;
  bool stop_ = false;
  std::vector<bool> complete_;  // of each parameter
  size_t unsummed_;             // parameters [0, unsummed_) are not summed yet
  std::exception_ptr error_;    // of the thread below
  std::thread thread_;          // where the communicator works in any thread
};

}  // namespace beacon
