#include "train/nccl_sums.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <span>

#include "base/check.h"

namespace beacon {
namespace {

constexpr int kFloat32 = 7;
constexpr int kSum = 0;

template <typename Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  require(function != nullptr, ErrorCode::kUnsupported, "the NCCL that was found has no {}", name);
}

}  // namespace

NcclSums::NcclSums(Communicator& communicator, const std::string& library)
    : library_(dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (library_ == nullptr) {
    const char* reason = dlerror();
    fail(ErrorCode::kUnsupported,
         "cannot load NCCL ({}); expected the nvidia-nccl package that the torch wheel names, or nccl: false",
         reason == nullptr ? library : reason);
  }
  find(library_, "ncclGetUniqueId", functions_.get_unique_id);
  find(library_, "ncclCommInitRank", functions_.comm_init_rank);
  find(library_, "ncclAllReduce", functions_.all_reduce);
  find(library_, "ncclGetErrorString", functions_.get_error_string);
  Id id{};
  if (communicator.rank() == 0) check(functions_.get_unique_id(&id), "ncclGetUniqueId");
  // The others have zeros: the sums are the bytes of rank 0.
  std::array<double, sizeof id.bytes> bytes{};
  std::copy(std::begin(id.bytes), std::end(id.bytes), bytes.begin());
  communicator.sum(std::span<double>(bytes));
  std::transform(bytes.begin(), bytes.end(), id.bytes, [](double byte) { return static_cast<char>(byte); });
  check(functions_.comm_init_rank(&comm_, communicator.size(), id, communicator.rank()), "ncclCommInitRank");
}

void NcclSums::sum(const at::Tensor& values) {
  BEACON_CHECK(values.scalar_type() == at::kFloat && values.is_contiguous());
  void* data = values.data_ptr();
  check(functions_.all_reduce(data, data, static_cast<size_t>(values.numel()), kFloat32, kSum, comm_,
                              /*stream=*/nullptr),
        "ncclAllReduce");
}

void NcclSums::check(int result, const char* what) const {
  require(result == 0, ErrorCode::kUnsupported,
          "{}: {} (each process needs a GPU of its own; NCCL_DEBUG=INFO tells more; nccl: false goes through "
          "MPI)",
          what, functions_.get_error_string(result));
}

}  // namespace beacon
