#pragma once
// The ceilings of this machine, measured once and kept in the user's cache.
#include <filesystem>
#include <string>

namespace beacon::cli {

// Of all `threads` together.
struct MachineCeiling {
  std::string cpu;  // as /proc/cpuinfo names it
  std::string isa;  // of the kernels in use; or the device, where that is not the processor
  int threads = 0;
  double read_bytes = 0;  // a second
  double f32_flops = 0;   // of one large matrix product, a second
  double bf16_flops = 0;  // likewise; 0 where the processor has no products of bf16

  // What products in `compute` ("f32", "q15", "bf16") are compared with; integers with f32.
  double flops(const std::string& compute) const { return compute == "bf16" ? bf16_flops : f32_flops; }
};

// The processor's name where Linux tells it, else the architecture's.
std::string processor_name();

// $XDG_CACHE_HOME/beacon/machine.json or ~/.cache/beacon/machine.json; empty without either variable.
std::filesystem::path ceiling_file();

// Measures for some seconds on the threads in use, and keeps the result in `file` unless that is empty or
// cannot be written.
MachineCeiling measure_ceiling(const std::filesystem::path& file);

// Of a device that is not the processor ("cuda:0"), which is soon measured and not kept.
MachineCeiling device_ceiling(const std::string& device);

// What `file` holds for this processor, instruction set and number of threads, else measured; or that of the
// device.
MachineCeiling known_ceiling(const std::filesystem::path& file, const std::string& device = "cpu");

}  // namespace beacon::cli
