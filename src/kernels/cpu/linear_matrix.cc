// Products of many rows with quantised weights in whole numbers: 15-bit activations times unpacked weights,
// in pairs of 16 bits. Weights of a panel of outputs are unpacked once for all rows and stay in the first
// cache.
#include "kernels/cpu/byte_formats.h"
#include "kernels/cpu/functions.h"
#include "kernels/cpu/pair_product.h"
#include "kernels/cpu/round_block.h"
#include "kernels/cpu/word_blocks.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

constexpr int kPanelVectors = 2;
constexpr int kPanel = kPanelVectors * kLanes;  // outputs side by side
constexpr int kPairs = 16;                      // of a block of 32
constexpr int kChunkBlocks = 12;                // of a panel at a time: with its scales some 15 or 30 KB

static_assert(kLinearPanel % kPanel == 0);

// One block of every output of a panel.
struct PanelBlock {
  float words[kPairs][kPanel];  // two neighbouring weights of an output, each of 16 bits
  float scale[2][kPanel];       // [1]: of the second half of the block, where a format has two
  float minimum[kPanel];
};

// The elements of half a block, without their offset, as 16-bit integers.
template <typename Format>
BEACON_INLINE void widen_half(const uint8_t* bytes, int16_t* dst) {
  typedef int16_t S16 __attribute__((vector_size(32)));
  typedef int16_t S16Memory __attribute__((vector_size(32), aligned(1), may_alias));
  typedef uint8_t B16Bytes __attribute__((vector_size(16), aligned(1), may_alias));
  typedef int8_t C16Bytes __attribute__((vector_size(16), aligned(1), may_alias));
  S16 values;
  if constexpr (Format::kSigned) {
    values = __builtin_convertvector(*reinterpret_cast<const C16Bytes*>(bytes), S16);
  } else {
    values = __builtin_convertvector(*reinterpret_cast<const B16Bytes*>(bytes), S16);
  }
  *reinterpret_cast<S16Memory*>(dst) = values - static_cast<int16_t>(Format::kOffset);
}

constexpr int kTurned = 8;  // outputs whose bytes change places at a time
static_assert(kPanel % kTurned == 0 && 2 * kTurned == kPairs);

// The pairs of bytes of a and b by turns, of the first or the second half of every 16 bytes.
template <bool kSecond>
BEACON_INLINE VB interleave_pairs(VB a, VB b) {
#if defined(__AVX512BW__)
  return kSecond ? (VB)_mm512_unpackhi_epi16((__m512i)a, (__m512i)b)
                 : (VB)_mm512_unpacklo_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return kSecond ? (VB)_mm256_unpackhi_epi16((__m256i)a, (__m256i)b)
                 : (VB)_mm256_unpacklo_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return kSecond ? (VB)_mm_unpackhi_epi16((__m128i)a, (__m128i)b)
                 : (VB)_mm_unpacklo_epi16((__m128i)a, (__m128i)b);
#else
  VB out = {};
  for (int i = 0; i < 4 * kLanes; ++i) {
    const int from = i / 16 * 16 + (kSecond ? 8 : 0) + i % 16 / 4 * 2 + i % 2;
    out[i] = i % 4 < 2 ? a[from] : b[from];
  }
  return out;
#endif
}

// Of every 16 bytes of eight rows: row j becomes the pairs j of all rows. Each step deals the two halves of
// the rows out by turns, and after three every pair is at its place.
BEACON_INLINE void transpose_pairs(VB (&rows)[kTurned]) {
  BEACON_UNROLL
  for (int step = 0; step < 3; ++step) {
    VB dealt[kTurned];
    BEACON_UNROLL
    for (int i = 0; i < kTurned / 2; ++i) {
      dealt[2 * i] = interleave_pairs<false>(rows[i], rows[i + kTurned / 2]);
      dealt[2 * i + 1] = interleave_pairs<true>(rows[i], rows[i + kTurned / 2]);
    }
    BEACON_UNROLL
    for (int i = 0; i < kTurned; ++i) rows[i] = dealt[i];
  }
}

// Half the elements of some blocks of eight outputs, from output o of the panel on.
template <typename Format>
BEACON_INLINE void place_halves(VB (&rows)[kTurned], int half, int o, int64_t there, PanelBlock* panel) {
  transpose_pairs(rows);
  BEACON_UNROLL
  for (int pair = 0; pair < kTurned; ++pair) {
    alignas(64) uint8_t bytes[4 * kLanes];
    __builtin_memcpy(bytes, &rows[pair], sizeof bytes);
    for (int64_t i = 0; i < there; ++i) {
      float* to = panel[i].words[kTurned * half + pair] + o;
      widen_half<Format>(bytes + 16 * i, reinterpret_cast<int16_t*>(to));
    }
  }
}

// Blocks [begin, end) of the outputs [o0, o0 + count); those of the panel that are not there repeat the last.
// Never inlined, nor is multiply_panel: together the registers do not suffice for either.
template <typename Format>
__attribute__((noinline)) void unpack_panel(const LinearMatrixParams& p, int64_t o0, int64_t count,
                                            int64_t begin, int64_t end, PanelBlock* panel) {
  for (int64_t b = begin; b < end; b += kBlocks) {
    const int64_t there = least(kBlocks, end - b);
    PanelBlock* blocks = panel + (b - begin);
    for (int o = 0; o < kPanel; o += kTurned) {
      VB first[kTurned], second[kTurned];
      for (int i = 0; i < kTurned; ++i) {
        const int64_t output = o0 + least(o + i, count - 1);
        const auto* row = reinterpret_cast<const uint8_t*>(p.weight + output * p.weight_row_bytes);
        // The panel that follows: the processor's own prefetching does not follow so many rows at a time.
        __builtin_prefetch(row + kPanel * p.weight_row_bytes + Format::kGroupBytes * b / 4);
        ByteWeights w = {};
        if (there == kBlocks) {
          Format::template load<false>(row, b, kBlocks, w);
        } else {
          Format::template load<true>(row, b, there, w);
        }
        first[i] = w.first;
        second[i] = w.second;
        for (int64_t k = 0; k < there; ++k) {
          blocks[k].scale[0][o + i] = w.scale[4 * k];
          if constexpr (Format::kTwoScales) blocks[k].scale[1][o + i] = w.scale_second[4 * k];
          if constexpr (Format::kHasMinimum) blocks[k].minimum[o + i] = w.minimum[4 * k];
        }
      }
      place_halves<Format>(first, 0, o, there, blocks);
      place_halves<Format>(second, 1, o, there, blocks);
    }
  }
}

constexpr int kTiles = kProductRows / kLinearTileRows;
static_assert(kTiles * kLinearTileRows == kProductRows);

// Tiles of activations, from some block on.
struct RowTiles {
  int64_t next;  // from a tile to the one that follows
  const int16_t* x[kTiles];
  const float* scale[kTiles];
  const float* sums[kTiles];
};

// Value of row r in block b, of the scales or the sums.
BEACON_INLINE VF block_value(const float* const (&values)[kTiles], int64_t b, int r) {
  return broadcast(values[r / kLinearTileRows][kLinearTileRows * b + r % kLinearTileRows]);
}

// The pairs [first, last) of a block, and their scaled sums added to the totals.
template <int kFirst, int kLast>
BEACON_INLINE void add_block_part(const PanelBlock& block, const float* weight_scale, const RowTiles& rows,
                                  int64_t b, VF (&totals)[kProductRows][kPanelVectors]) {
  VI sums[kProductRows][kPanelVectors] = {};
  // The next rows come from beyond the second cache.
  BEACON_UNROLL
  for (int t = 0; t < kTiles; ++t) {
    const int16_t* next = rows.x[t] + rows.next + 32 * kLinearTileRows * b;
    BEACON_UNROLL
    for (int i = 0; i < 4; ++i) __builtin_prefetch(next + 32 * i);
  }
  BEACON_UNROLL
  for (int k = kFirst; k < kLast; ++k) {
    VI weights[kPanelVectors];
    BEACON_UNROLL
    for (int v = 0; v < kPanelVectors; ++v) {
      weights[v] = as_int(load(block.words[k] + kLanes * v));
      keep_in_register(weights[v]);
    }
    BEACON_UNROLL
    for (int r = 0; r < kProductRows; ++r) {
      int32_t pair = 0;
      __builtin_memcpy(
          &pair, rows.x[r / kLinearTileRows] + 2 * (kLinearTileRows * (kPairs * b + k) + r % kLinearTileRows),
          sizeof pair);
      const VI x = pair - VI{};
      BEACON_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) {
        sums[r][v] = add_pairs(sums[r][v], weights[v], x);
        // Else GCC adds whole numbers up in another order, for which the registers do not suffice.
        keep_in_register(sums[r][v]);
      }
    }
  }
  BEACON_UNROLL
  for (int r = 0; r < kProductRows; ++r) {
    const VF scale = block_value(rows.scale, b, r);
    BEACON_UNROLL
    for (int v = 0; v < kPanelVectors; ++v) {
      totals[r][v] =
          multiply_add(to_float(sums[r][v]) * scale, load(weight_scale + kLanes * v), totals[r][v]);
    }
  }
}

template <typename Format>
BEACON_INLINE void add_block(const PanelBlock& block, const RowTiles& rows, int64_t b,
                             VF (&totals)[kProductRows][kPanelVectors]) {
  if constexpr (Format::kTwoScales) {
    add_block_part<0, kPairs / 2>(block, block.scale[0], rows, b, totals);
    add_block_part<kPairs / 2, kPairs>(block, block.scale[1], rows, b, totals);
  } else {
    add_block_part<0, kPairs>(block, block.scale[0], rows, b, totals);
  }
  if constexpr (Format::kHasMinimum) {
    BEACON_UNROLL
    for (int r = 0; r < kProductRows; ++r) {
      const VF sum = block_value(rows.sums, b, r);
      BEACON_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) {
        totals[r][v] = multiply_add(sum, load(block.minimum + kLanes * v), totals[r][v]);
      }
    }
  }
}

// `count` floats from p, zeros behind them.
BEACON_INLINE VF load_some(const float* p, int64_t count) {
  return count >= kLanes ? load(p) : count <= 0 ? VF{} : load_part(p, count, 0.0F);
}
BEACON_INLINE void store_some(float* p, VF value, int64_t count) {
  if (count >= kLanes) {
    store(p, value);
  } else if (count > 0) {
    store_part(p, value, count);
  }
}

// Adds the products of blocks [begin, end) to y; the first blocks begin with the bias instead.
template <typename Format>
__attribute__((noinline)) void multiply_panel(const LinearMatrixParams& p, int64_t o0, int64_t count,
                                              int64_t begin, int64_t end, const PanelBlock* panel) {
  const int64_t blocks = p.in / 32;
  for (int64_t r0 = 0; r0 < p.rows; r0 += kProductRows) {
    const int64_t there = least(kProductRows, p.rows - r0);
    RowTiles rows;
    rows.next = kProductRows * p.in;
    for (int t = 0; t < kTiles; ++t) {
      // A tile that is not there repeats the last one.
      const int64_t tile = least(r0 / kLinearTileRows + t, (p.rows - 1) / kLinearTileRows);
      rows.x[t] = p.x + kLinearTileRows * (tile * p.in + 32 * begin);
      rows.scale[t] = p.x_scale + kLinearTileRows * (tile * blocks + begin);
      rows.sums[t] = p.x_sums + kLinearTileRows * (tile * blocks + begin);
    }
    VF totals[kProductRows][kPanelVectors];
    for (int r = 0; r < kProductRows; ++r) {
      const int64_t row = r0 + least(r, there - 1);
      const float* from = begin > 0 ? p.y + row * p.y_stride + o0 : p.bias == nullptr ? nullptr : p.bias + o0;
      for (int v = 0; v < kPanelVectors; ++v) {
        totals[r][v] = from == nullptr ? VF{} : load_some(from + kLanes * v, count - kLanes * v);
      }
    }
    for (int64_t b = 0; b < end - begin; ++b) add_block<Format>(panel[b], rows, b, totals);
    for (int r = 0; r < there; ++r) {
      float* y = p.y + (r0 + r) * p.y_stride + o0;
      for (int v = 0; v < kPanelVectors; ++v) {
        store_some(y + kLanes * v, totals[r][v], count - kLanes * v);
      }
    }
  }
}

template <typename Format>
void multiply_matrix(const LinearMatrixParams& p, int64_t o_begin, int64_t o_end) {
  alignas(64) PanelBlock panel[kChunkBlocks];
  const int64_t blocks = p.in / 32;
  for (int64_t o = o_begin; o < o_end; o += kPanel) {
    const int64_t count = least(kPanel, o_end - o);
    for (int64_t begin = 0; begin < blocks; begin += kChunkBlocks) {
      const int64_t end = least(blocks, begin + kChunkBlocks);
      unpack_panel<Format>(p, o, count, begin, end, panel);
      multiply_panel<Format>(p, o, count, begin, end, panel);
    }
  }
}

// Whole numbers of a block as pairs; gives their sum.
float pair_up(const RoundedBlock& block, float* pairs) {
  typedef int16_t VS __attribute__((vector_size(2 * kLanes)));
  VI sum = {};
  BEACON_UNROLL
  for (int v = 0; v < 32 / kLanes; ++v) {
    const VS halves = __builtin_convertvector(block.q[v], VS);
    __builtin_memcpy(pairs + kLanes / 2 * v, &halves, sizeof halves);
    sum += block.q[v];
  }
  // Below 2^24: exact in f32, in any order.
  return sum_lanes(to_float(sum));
}

}  // namespace

void round_tile_q15(const float* x, int64_t x_stride, int64_t rows, int64_t n, int16_t* q, float* scale,
                    float* sums) noexcept {
  for (int64_t b = 0; b < n / 32; ++b) {
    float pairs[kLinearTileRows * kPairs];
    for (int r = 0; r < kLinearTileRows; ++r) {
      const RoundedBlock block = r < rows ? round_block(x + r * x_stride + 32 * b) : RoundedBlock{};
      scale[kLinearTileRows * b + r] = block.scale;
      sums[kLinearTileRows * b + r] = pair_up(block, pairs + kPairs * r) * block.scale;
    }
    float* dst = reinterpret_cast<float*>(q) + kLinearTileRows * kPairs * b;
    transpose_block({pairs, kPairs}, kLinearTileRows, kPairs, {dst, kLinearTileRows});
  }
}

void linear_matrix_q15(const LinearMatrixParams& p, int64_t o_begin, int64_t o_end) noexcept {
  with_byte_format(p.weight_type, [&](auto format) { multiply_matrix<decltype(format)>(p, o_begin, o_end); });
}

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
