#pragma once
// Sums over the GPUs of a run through NCCL, which comes with torch's CUDA libraries.
#include <ATen/core/Tensor.h>

#include <string>

#include "train/communicator.h"

namespace beacon {

// Belongs to one thread at a time; all ranks call the same functions in the same order. Each rank needs a GPU
// of its own, which is the current device of whoever makes one and calls it.
class NcclSums {
 public:
  // Ranks find each other through the communicator. Throws kUnsupported where there is no NCCL, or where it
  // cannot connect these ranks, with its reason.
  explicit NcclSums(Communicator& communicator, const std::string& library = "libnccl.so.2");
  // Neither library nor communicator is closed: NCCL's farewell waits for the other ranks, which may have
  // failed. The process ends it.
  ~NcclSums() = default;
  NcclSums(const NcclSums&) = delete;
  NcclSums& operator=(const NcclSums&) = delete;

  // Queues, behind what is queued on the default stream, the replacement of the values by their sums over all
  // ranks; what is queued later waits for it. f32, contiguous, on the GPU.
  void sum(const at::Tensor& values);

 private:
  // NCCL's, by its documentation: an id of 128 bytes by value; results are 0 or an error.
  struct Id {
    char bytes[128];
  };
  struct Functions {
    int (*get_unique_id)(Id*);
    int (*comm_init_rank)(void** comm, int ranks, Id id, int rank);
    int (*all_reduce)(const void* from, void* to, size_t count, int type, int operation, void* comm,
                      void* stream);
    const char* (*get_error_string)(int result);
  };
  void check(int result, const char* what) const;

  void* library_ = nullptr;
  Functions functions_{};
  void* comm_ = nullptr;
};

}  // namespace beacon
