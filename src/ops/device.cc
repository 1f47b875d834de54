#include "ops/device.h"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <c10/core/DeviceType.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "base/check.h"
#include "base/log.h"
#include "ops/device_kernels.h"

namespace beacon::ops {
namespace {

// N of "cuda:N", 0 of "cuda"; nothing for another name.
std::optional<c10::DeviceIndex> cuda_index(const std::string& name) {
  if (name == "cuda") return 0;
  constexpr std::string_view kPrefix = "cuda:";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  c10::DeviceIndex index = -1;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, index);
  if (error != std::errc() || stop != end || index < 0) return std::nullopt;
  return index;
}

// Beside the libtorch_cpu.so that this process uses.
std::filesystem::path torch_cuda_library() {
  Dl_info torch{};
  const auto* symbol = reinterpret_cast<const void*>(&at::globalContext);
  BEACON_CHECK(dladdr(symbol, &torch) != 0 && torch.dli_fname != nullptr);
  return std::filesystem::path(torch.dli_fname).parent_path() / "libtorch_cuda.so";
}

void load_torch_cuda() {
  const std::filesystem::path library = torch_cuda_library();
  // RTLD_GLOBAL: our own CUDA library and torch's libraries of libraries look symbols up in it.
  if (dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return;
  const char* reason = dlerror();
  fail(ErrorCode::kUnsupported,
       "cannot load torch's CUDA library: {}; expected the nvidia-* packages that the torch wheel names; "
       "'scripts/setup.sh --cuda' or 'pip install torch' installs them",
       reason == nullptr ? library.string() : reason);
}

}  // namespace

at::Device open_device(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  // A backend that the process itself has taught torch.
  if (c10::is_privateuse1_backend_registered() && name == c10::get_privateuse1_backend())
    return {c10::DeviceType::PrivateUse1, 0};
  const std::optional<c10::DeviceIndex> index = cuda_index(name);
  require(index.has_value(), ErrorCode::kInvalidArgument,
          "'{}' is not a device; cpu, cuda or cuda:N was expected", name);
  // cuBLAS gives the same bits again only with a workspace of a fixed size, which it must know from the
  // start.
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  load_torch_cuda();
  require(at::globalContext().hasCUDA(), ErrorCode::kUnsupported,
          "torch found no CUDA device; is there a driver, and does nvidia-smi list a GPU?");
  at::globalContext().lazyInitDevice(at::kCUDA);
  at::globalContext().setAllowBF16ReductionCuBLAS(false);  // sums are f32, whatever is split between blocks
  const at::Device device(at::kCUDA, *index);
  const c10::DeviceIndex count = c10::impl::VirtualGuardImpl(at::kCUDA).deviceCount();
  require(*index < count, ErrorCode::kUnsupported, "{} was asked for, but there are {} CUDA devices", name,
          static_cast<int>(count));
  if (const std::string reason = load_cuda_kernels(); !reason.empty())
    log_warning(fmt::format("weights are kept in bf16 on the GPU, not in their blocks: {}", reason));
  return device;
}

at::Tensor send(const at::Tensor& x, at::Device device) { return x.to(device, /*non_blocking=*/true); }

at::Tensor index_on(at::Device device, const std::vector<int64_t>& values) {
  return send(at::tensor(values, at::kLong), device);
}

at::Tensor index_on(at::Device device, const std::vector<int32_t>& values) {
  return send(at::tensor(values, at::kInt), device);
}

void ask_for_the_same_bits() {
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
}

void synchronize(at::Device device) {
  if (device.is_cpu()) return;
  c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

}  // namespace beacon::ops
