#include "ops/device_kernels.h"

#include <dlfcn.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <string_view>

#include "base/check.h"

namespace beacon::ops {
namespace {

namespace fs = std::filesystem;

using Table = std::atomic<const kernels::DeviceKernels*>;

Table& table_of(c10::DeviceType type) {
  static std::array<Table, c10::COMPILE_TIME_MAX_DEVICE_TYPES> tables{};
  return tables[static_cast<size_t>(type)];
}

// Beside the program or library this is part of; where an installation has its libraries; and, for tests, at
// the top of the build.
fs::path kernels_library() {
  Dl_info own{};
  if (dladdr(reinterpret_cast<const void*>(&use_device_kernels), &own) == 0 || own.dli_fname == nullptr)
    return {};
  std::error_code error;
  // The loader knows the program itself by the name it was called with, which need not be a path.
  const bool by_name = std::string_view(own.dli_fname).find('/') == std::string_view::npos;
  const fs::path self = by_name ? fs::read_symlink("/proc/self/exe", error) : fs::path(own.dli_fname);
  if (self.empty()) return {};
  const fs::path folder = fs::weakly_canonical(self, error).parent_path();
  for (const char* relative : {".", "../lib", "../lib64", "../lib/x86_64-linux-gnu", "../.."}) {
    fs::path file = folder / relative / "libbeacon_cuda.so";
    if (fs::exists(file, error)) return file;
  }
  return {};
}

}  // namespace

const kernels::DeviceKernels* device_kernels(at::Device device) { return table_of(device.type()).load(); }

void use_device_kernels(c10::DeviceType type, const kernels::DeviceKernels* kernels) {
  table_of(type).store(kernels);
}

std::string load_cuda_kernels() {
  if (table_of(c10::DeviceType::CUDA).load() != nullptr) return "";
  const fs::path file = kernels_library();
  if (file.empty())
    return "there is no libbeacon_cuda.so beside this program (it is built where nvcc is found)";
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return fmt::format("cannot load {}: {}", file.string(), dlerror());
  using Entry = const kernels::DeviceKernels* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(library, "beacon_device_kernels"));
  const kernels::DeviceKernels* table = entry == nullptr ? nullptr : entry();
  if (table == nullptr || table->version != kernels::kDeviceKernelsVersion)
    return fmt::format("{} belongs to another build", file.string());
  use_device_kernels(c10::DeviceType::CUDA, table);
  return "";
}

void check_launch(const char* reason) {
  require(reason == nullptr, ErrorCode::kInternal, "a kernel could not be started: {}",
          reason == nullptr ? "" : reason);
}

}  // namespace beacon::ops
