#include "cli/machine_ceiling.h"

#include <sys/utsname.h>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/atomic_file.h"
#include "io/json_reader.h"
#include "kernels/isa.h"
#include "ops/machine_peak.h"
#include "ops/thread_count.h"

namespace beacon::cli {
namespace fs = std::filesystem;
namespace {

// Counts up when what is measured changes.
constexpr int64_t kVersion = 1;

void keep(const MachineCeiling& ceiling, const fs::path& file) {
  const OrderedJson json = {{"version", kVersion},
                            {"cpu", ceiling.cpu},
                            {"isa", ceiling.isa},
                            {"threads", ceiling.threads},
                            {"read_bytes_per_s", ceiling.read_bytes},
                            {"f32_flops_per_s", ceiling.f32_flops},
                            {"bf16_flops_per_s", ceiling.bf16_flops}};
  try {
    fs::create_directories(file.parent_path());
    const std::string text = json.dump(2) + "\n";
    AtomicFile out(file);
    out.write(std::as_bytes(std::span(text)));
    out.commit();
  } catch (const std::exception&) {
    // Nothing depends on it: the next run measures again.
  }
}

// Nothing for a file that is not there, is damaged, or is of another machine.
std::optional<MachineCeiling> read(const fs::path& file) try {
  std::ifstream in(file);
  if (!in) return std::nullopt;
  std::stringstream text;
  text << in.rdbuf();
  const Json object = parse_json_object(text.str(), file.string());
  const JsonReader reader(object, file.string());
  if (reader.required_integer("version", 0, 1000) != kVersion) return std::nullopt;
  MachineCeiling ceiling;
  ceiling.cpu = reader.string("cpu").value_or("");
  ceiling.isa = reader.string("isa").value_or("");
  ceiling.threads = static_cast<int>(reader.required_integer("threads", 1, 4096));
  ceiling.read_bytes = reader.number("read_bytes_per_s", 1, 1e18).value_or(0);
  ceiling.f32_flops = reader.number("f32_flops_per_s", 1, 1e18).value_or(0);
  ceiling.bf16_flops = reader.number("bf16_flops_per_s", 0, 1e18).value_or(0);
  if (ceiling.read_bytes == 0 || ceiling.f32_flops == 0) return std::nullopt;
  return ceiling;
} catch (const Error&) {
  return std::nullopt;
}

}  // namespace

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  utsname name{};
  return uname(&name) == 0 ? name.machine : "unknown";
}

fs::path ceiling_file() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache != 0) return fs::path(cache) / "beacon" / "machine.json";
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home != 0) return fs::path(home) / ".cache" / "beacon" / "machine.json";
  return {};
}

MachineCeiling measure_ceiling(const fs::path& file) {
  MachineCeiling ceiling;
  ceiling.cpu = processor_name();
  ceiling.isa = kernels::active_isa_name();
  ceiling.threads = ops::num_threads();
  ceiling.read_bytes = ops::measure_read_peak();
  ceiling.f32_flops = ops::measure_gemm_peak(false);
  if (ceiling.isa == "avx512bf16") ceiling.bf16_flops = ops::measure_gemm_peak(true);
  if (!file.empty()) keep(ceiling, file);
  return ceiling;
}

MachineCeiling device_ceiling(const std::string& device) {
  MachineCeiling ceiling;
  ceiling.cpu = processor_name();
  ceiling.isa = device;
  ceiling.threads = ops::num_threads();
  ceiling.read_bytes = ops::measure_read_peak(device);
  ceiling.f32_flops = ops::measure_gemm_peak(false, device);
  ceiling.bf16_flops = ops::measure_gemm_peak(true, device);
  return ceiling;
}

MachineCeiling known_ceiling(const fs::path& file, const std::string& device) {
  if (device != "cpu") return device_ceiling(device);
  const auto kept = read(file);
  const bool fits = kept && kept->cpu == processor_name() && kept->isa == kernels::active_isa_name() &&
                    kept->threads == ops::num_threads();
  return fits ? *kept : measure_ceiling(file);
}

}  // namespace beacon::cli
