// Conversions and dequantisation. Compiled without contraction, so that every build gives the same bits.
#include "kernels/cpu/functions.h"
#include "kernels/cpu/k_formats.h"
#include "kernels/cpu/round_block.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

BEACON_INLINE void store_as(float* dst, VF v) { store(dst, v); }
BEACON_INLINE void store_as(uint16_t* dst, VF v) { store_half(dst, float_to_bf16(v)); }

BEACON_INLINE void store_one(float* dst, float value) { *dst = value; }
BEACON_INLINE void store_one(uint16_t* dst, float value) { *dst = float_to_bf16(broadcast(value))[0]; }

template <typename Format, typename Target>
BEACON_INLINE void store_piece(const uint8_t* src, int64_t b, Target* dst) {
  Piece piece;
  Format::load(src, b, piece);
  BEACON_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    VF value = piece.q[v];
    if constexpr (Format::kScaled) value = value * piece.scale;
    if constexpr (Format::kHasMinimum) value = value + piece.minimum;
    store_as(dst + 32 * b + kLanes * v, value);
  }
}

template <typename Target>
void dequantize(DType type, const std::byte* bytes, Target* dst, int64_t n) {
  const auto* src = reinterpret_cast<const uint8_t*>(bytes);
  const bool quantised = with_quantised_format(type, [&](auto format) {
    for (int64_t b = 0; b < n / 32; ++b) store_piece<decltype(format)>(src, b, dst);
  });
  const bool plain = !quantised && with_plain_format(type, [&](auto format) {
    for (int64_t b = 0; b < n / 32; ++b) store_piece<decltype(format)>(src, b, dst);
    for (int64_t i = n / 32 * 32; i < n; ++i) store_one(dst + i, format.at(src, i));
  });
  if (!quantised && !plain) {
    for (int64_t i = 0; i < n; ++i) dst[i] = 0;
  }
}

template <typename Convert>
BEACON_INLINE void to_half(const float* src, uint16_t* dst, int64_t n, Convert convert) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store_half(dst + i, convert(load(src + i)));
  for (; i < n; ++i) dst[i] = convert(broadcast(src[i]))[0];
}

template <typename Convert>
BEACON_INLINE void from_half(const uint16_t* src, float* dst, int64_t n, Convert convert) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(dst + i, convert(load_half(src + i)));
  for (; i < n; ++i) dst[i] = convert(VH{} + src[i])[0];
}

void quantize_block(const float* x, std::byte* dst) {
  typedef int8_t VC __attribute__((vector_size(kLanes)));
  const BlockSize size = size_of_block(x);
  const VH half = float_to_f16(broadcast(size.finite ? size.largest / 127.0F : __builtin_nanf("")));
  const uint16_t bits = half[0];
  __builtin_memcpy(dst, &bits, sizeof bits);
  const float scale = f16_to_float(half)[0];
  // An infinite scale leaves zeros, as one of zero does.
  const bool usable = size.finite && scale > 0.0F && scale <= 65504.0F;
  const float inverse = usable ? 1.0F / scale : 0.0F;
  const VF most = broadcast(127.0F);
  BEACON_UNROLL
  for (int v = 0; v < 32 / kLanes; ++v) {
    const VF value = usable ? load(x + kLanes * v) * inverse : VF{};
    // A scale that was rounded down would need more than 127.
    const VC bytes = __builtin_convertvector(round_to_int(smaller(larger(value, -most), most)), VC);
    __builtin_memcpy(dst + 2 + kLanes * v, &bytes, sizeof bytes);
  }
}

}  // namespace

void dequantize_row(DType type, const std::byte* src, float* dst, int64_t n) noexcept {
  dequantize(type, src, dst, n);
}

void dequantize_row_bf16(DType type, const std::byte* src, uint16_t* dst, int64_t n) noexcept {
  dequantize(type, src, dst, n);
}

void quantize_row_q8_0(const float* src, std::byte* dst, int64_t n) noexcept {
  for (int64_t b = 0; b < n / 32; ++b) quantize_block(src + 32 * b, dst + 34 * b);
}

void f32_to_bf16(const float* src, uint16_t* dst, int64_t n) noexcept {
  to_half(src, dst, n, [](VF v) { return float_to_bf16(v); });
}

void f32_to_f16(const float* src, uint16_t* dst, int64_t n) noexcept {
  to_half(src, dst, n, [](VF v) { return float_to_f16(v); });
}

void bf16_to_f32(const uint16_t* src, float* dst, int64_t n) noexcept {
  from_half(src, dst, n, [](VH h) { return bf16_to_float(h); });
}

void f16_to_f32(const uint16_t* src, float* dst, int64_t n) noexcept {
  from_half(src, dst, n, [](VH h) { return f16_to_float(h); });
}

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
