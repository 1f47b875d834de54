// Products of few rows with weights: the weights are read once, unpacked in registers and used for up to
// eight rows.
#include "kernels/cpu/functions.h"
#include "kernels/cpu/k_formats.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// Sums of x over pieces are kept on the stack for this many pieces (16384 elements) at a time.
constexpr int64_t kPiecesAtOnce = 512;

// One output of R rows over the pieces [begin, end). x_sums[r][b - begin] holds the sum of piece b of row r.
template <typename Format, int R>
BEACON_INLINE void dot_pieces(const uint8_t* w, const float* x, int64_t x_stride,
                              const float (*x_sums)[kPiecesAtOnce], int64_t begin, int64_t end, float* sums) {
  VF total[R] = {};
  float minima[R] = {};
  for (int64_t b = begin; b < end; ++b) {
    Piece piece;
    Format::load(w, b, piece);
    BEACON_UNROLL
    for (int r = 0; r < R; ++r) {
      const float* values = x + r * x_stride + 32 * b;
      VF dot = {};
      BEACON_UNROLL
      for (int v = 0; v < kVectors; ++v) dot = multiply_add(piece.q[v], load(values + kLanes * v), dot);
      if constexpr (Format::kScaled) {
        total[r] = multiply_add(dot, broadcast(piece.scale), total[r]);
      } else {
        total[r] = total[r] + dot;
      }
      if constexpr (Format::kHasMinimum) minima[r] += piece.minimum * x_sums[r][b - begin];
    }
  }
  BEACON_UNROLL
  for (int r = 0; r < R; ++r) sums[r] += sum_lanes(total[r]) + minima[r];
}

template <int R>
void sum_pieces(const float* x, int64_t x_stride, int64_t begin, int64_t end,
                float (*x_sums)[kPiecesAtOnce]) {
  for (int r = 0; r < R; ++r) {
    for (int64_t b = begin; b < end; ++b) {
      VF sum = {};
      for (int v = 0; v < kVectors; ++v) sum = sum + load(x + r * x_stride + 32 * b + kLanes * v);
      x_sums[r][b - begin] = sum_lanes(sum);
    }
  }
}

BEACON_INLINE void finish(float* y, float sum, const float* bias, int64_t o, bool add) {
  if (bias != nullptr) sum += bias[o];
  *y = add ? *y + sum : sum;
}

// R rows from r0. Rows longer than kPiecesAtOnce pieces are done in passes, the later ones adding to y.
template <typename Format, int R>
void linear_tile(const LinearParams& p, int64_t r0, int64_t o_begin, int64_t o_end) {
  const float* x = p.x + r0 * p.x_stride;
  const int64_t pieces = p.in / 32;
  float x_sums[Format::kHasMinimum ? R : 1][kPiecesAtOnce];
  int64_t begin = 0;
  do {
    const int64_t end = pieces - begin > kPiecesAtOnce ? begin + kPiecesAtOnce : pieces;
    if constexpr (Format::kHasMinimum) sum_pieces<R>(x, p.x_stride, begin, end, x_sums);
    for (int64_t o = o_begin; o < o_end; ++o) {
      const auto* w = reinterpret_cast<const uint8_t*>(p.weight + o * p.weight_row_bytes);
      float sums[R] = {};
      dot_pieces<Format, R>(w, x, p.x_stride, x_sums, begin, end, sums);
      if constexpr (requires { Format::kBytes; }) {
        if (end == pieces) {
          for (int r = 0; r < R; ++r) {
            for (int64_t i = 32 * pieces; i < p.in; ++i) sums[r] += Format::at(w, i) * x[r * p.x_stride + i];
          }
        }
      }
      for (int r = 0; r < R; ++r)
        finish(p.y + (r0 + r) * p.y_stride + o, sums[r], begin == 0 ? p.bias : nullptr, o,
               p.accumulate || begin != 0);
    }
    begin = end;
  } while (begin < pieces);
}

template <typename Format>
void linear_format(const LinearParams& p, int64_t o_begin, int64_t o_end) {
  int64_t r = 0;
  for (; r + 8 <= p.rows; r += 8) linear_tile<Format, 8>(p, r, o_begin, o_end);
  if (p.rows - r >= 4) {
    linear_tile<Format, 4>(p, r, o_begin, o_end);
    r += 4;
  }
  if (p.rows - r >= 2) {
    linear_tile<Format, 2>(p, r, o_begin, o_end);
    r += 2;
  }
  if (p.rows - r >= 1) linear_tile<Format, 1>(p, r, o_begin, o_end);
}

}  // namespace

void linear_rows(const LinearParams& p, int64_t o_begin, int64_t o_end) noexcept {
  if (with_quantised_format(p.weight_type,
                            [&](auto format) { linear_format<decltype(format)>(p, o_begin, o_end); })) {
    return;
  }
  with_plain_format(p.weight_type, [&](auto format) { linear_format<decltype(format)>(p, o_begin, o_end); });
}

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
