#pragma once
// Which build of the kernels runs. Every kernel exists as a slow reference and as one build per instruction
// set; the best one the machine has is taken at the first call, unless BEACON_ISA (the environment) names
// another.
#include <string_view>
#include <vector>

namespace beacon::kernels {

// Names, slowest first: "reference", "baseline" (x86-64-v2, or the plain build elsewhere), "avx2"
// (x86-64-v3), "avx512" (x86-64-v4), "avx512bf16" (the same with products of bf16 pairs and of bytes, VNNI).
// Only those compiled in and usable on this machine are returned. Thread-safe.
std::vector<std::string_view> available_isas();

// The name of the build that the kernels called now would use. Thread-safe.
const char* active_isa_name() noexcept;

// Whether the processor multiplies bf16 faster than f32: with tiles (AMX), or with 512-bit products of pairs
// that are as fast as those of f32 (AMD from Zen 4 on). Intel's processors have such products too, but
// without tiles they are slower than f32: 142 against 263 GFLOP/s on two cores of an Emerald Rapids.
// Thread-safe.
bool has_fast_bf16() noexcept;

// Takes the build that BEACON_ISA names, or the best one when it is unset or empty. Call once before the
// first kernel: without the call a wrong BEACON_ISA is ignored, because kernels cannot report errors. Throws
// kInvalidArgument for an unknown name and kUnsupported for one this machine cannot run. Thread-safe.
void choose_isa();

// Takes the named build for the whole process. Not to be called while kernels run: their scratch sizes
// differ. Throws like choose_isa().
void set_isa_for_tests(std::string_view name);

}  // namespace beacon::kernels
