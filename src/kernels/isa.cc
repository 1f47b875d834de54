#include "kernels/isa.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "base/check.h"
#include "kernels/cpu/tables.h"
#include "kernels/table.h"

#if defined(BEACON_KERNELS_X86)
#include <cpuid.h>
#endif

namespace beacon::kernels {
namespace {

struct Isa {
  const char* name;
  const KernelTable* table;
  bool (*supported)();
};

bool always() { return true; }

#if defined(BEACON_KERNELS_X86)
// Feature bits of a leaf; none where the processor does not have it.
struct Features {
  explicit Features(unsigned leaf) {
    unsigned a = 0;
    unsigned b = 0;
    if (__get_cpuid_count(leaf, 0, &a, &b, &c, &d) == 0) c = d = 0;
  }
  unsigned c = 0;
  unsigned d = 0;
};

bool has_bits(unsigned word, unsigned bits) { return (word & bits) == bits; }

// The parts of x86-64-v3 that the builtin does not know by name in every compiler.
bool has_movbe_f16c_lzcnt() {
  constexpr unsigned kMovbe = 1U << 22;
  constexpr unsigned kF16c = 1U << 29;
  constexpr unsigned kLzcnt = 1U << 5;
  return has_bits(Features(1).c, kMovbe | kF16c) && has_bits(Features(0x80000001U).c, kLzcnt);
}

// The builtin asks the processor and, for the wide registers, whether the operating system saves them.
bool has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2") && has_movbe_f16c_lzcnt();
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512cd");
}

// Every processor with bf16 products has the byte products; virtual machines may hide them.
bool has_avx512bf16() {
  return has_avx512() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
}

// Registers that the operating system saves (the low half of XCR0).
unsigned saved_registers() {
  unsigned low = 0;
  unsigned high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Products of bf16 in tiles. The builtin learnt these names late (GCC 14).
bool has_bf16_tiles() {
  constexpr unsigned kOsxsave = 1U << 27;
  constexpr unsigned kBf16 = 1U << 22;
  constexpr unsigned kTile = 1U << 24;
  constexpr unsigned kTileRegisters = 3U << 17;
  return has_bits(Features(1).c, kOsxsave) && has_bits(Features(7).d, kBf16 | kTile) &&
         has_bits(saved_registers(), kTileRegisters);
}
#endif

// Slowest first.
constexpr Isa kIsas[] = {
    {"reference", &kReferenceTable, always},
    {"baseline", &cpu_baseline::kTable, always},
#if defined(BEACON_KERNELS_X86)
    {"avx2", &cpu_avx2::kTable, has_avx2},
    {"avx512", &cpu_avx512::kTable, has_avx512},
    {"avx512bf16", &cpu_avx512bf16::kTable, has_avx512bf16},
#endif
};

const Isa& best_isa() {
  const Isa* best = kIsas;
  for (const Isa& isa : kIsas) {
    if (isa.supported()) best = &isa;
  }
  return *best;
}

const Isa* find_isa(std::string_view name) {
  for (const Isa& isa : kIsas) {
    if (name == isa.name) return &isa;
  }
  return nullptr;
}

std::string_view environment_name() {
  const char* name = std::getenv("BEACON_ISA");
  return name == nullptr ? std::string_view() : std::string_view(name);
}

// The choice when nobody called choose_isa(): a name that cannot be used is passed over.
const Isa& default_isa() {
  const Isa* named = find_isa(environment_name());
  return named != nullptr && named->supported() ? *named : best_isa();
}

const Isa& checked_isa(std::string_view name, std::string_view origin) {
  std::string usable;
  for (const std::string_view isa : available_isas()) usable.append(usable.empty() ? "" : ", ").append(isa);
  const Isa* isa = find_isa(name);
  require(isa != nullptr, ErrorCode::kInvalidArgument,
          "[isa] expected {} to name an instruction set of this build, found '{}'; usable here: {}", origin,
          name, usable);
  require(isa->supported(), ErrorCode::kUnsupported,
          "[isa] {} asks for '{}', which this machine does not have; usable here: {}", origin, name, usable);
  return *isa;
}

std::atomic<const Isa*> active{nullptr};

const Isa& active_isa() noexcept {
  const Isa* isa = active.load(std::memory_order_acquire);
  if (isa != nullptr) return *isa;
  const Isa* chosen = &default_isa();
  // Two first callers choose the same; a choose_isa() in between must win.
  return active.compare_exchange_strong(isa, chosen, std::memory_order_acq_rel) ? *chosen : *isa;
}

}  // namespace

const KernelTable& active_table() noexcept { return *active_isa().table; }

const char* active_isa_name() noexcept { return active_isa().name; }

bool has_fast_bf16() noexcept {
#if defined(BEACON_KERNELS_X86)
  static const bool fast = has_avx512bf16() && (__builtin_cpu_is("amd") || has_bf16_tiles());
  return fast;
#else
  return false;
#endif
}

std::vector<std::string_view> available_isas() {
  std::vector<std::string_view> names;
  for (const Isa& isa : kIsas) {
    if (isa.supported()) names.emplace_back(isa.name);
  }
  return names;
}

void choose_isa() {
  const std::string_view name = environment_name();
  const Isa& chosen = name.empty() ? best_isa() : checked_isa(name, "BEACON_ISA");
  active.store(&chosen, std::memory_order_release);
}

void set_isa_for_tests(std::string_view name) {
  active.store(&checked_isa(name, "the test"), std::memory_order_release);
}

}  // namespace beacon::kernels
