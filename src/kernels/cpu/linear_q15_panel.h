// Products of quantised weights with several rows of 15-bit activations, where there are products of unsigned
// with signed bytes (VNNI). The weights of 16 outputs are turned so that each output has a lane; then one
// load of weights serves up to eight rows, activations are broadcast, and no lanes are added up at the end.
#pragma once

#include "kernels/cpu/byte_panel.h"
#include "kernels/linear.h"

#if defined(__AVX512VNNI__)

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

static_assert(kLanes == kLinearRowsPanel);

constexpr int kRowsOfPanel = 16;  // that share an unpacked panel
constexpr int kRowsTogether = 8;  // whose sums stay in registers
constexpr int kSection = 64;      // blocks whose factors are made at a time

// What the products of some rows with the blocks of a panel are multiplied with, and what is added to them.
struct RowFactors {
  float scale[kSection][kRowsTogether];
  float sum[kSection][kRowsTogether];          // of a block's q, times its scale
  int32_t offset[2][kSection][kRowsTogether];  // that of the weights, times the sum of the q they meet
};

// Of blocks [begin, end) and `count` rows from r0 on; rows that are not there repeat the last one.
template <typename Format>
void fill_factors(const LinearQ15Params& p, int64_t r0, int64_t count, int64_t begin, int64_t end,
                  RowFactors& f) {
  for (int64_t r = 0; r < kRowsTogether; ++r) {
    const Q15Group* row = p.x + (r0 + (r < count ? r : count - 1)) * p.x_stride;
    for (int64_t b = begin; b < end; ++b) {
      const Q15Group& group = row[b / 4];
      const int64_t first = 4 * (b % 4), k = b - begin;
      const int32_t* sums = group.sums + first;
      const int32_t sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
      f.scale[k][r] = group.scale[first];
      f.sum[k][r] = static_cast<float>(sum) * group.scale[first];
      f.offset[0][k][r] = Format::kOffset * sum;
      if constexpr (Format::kTwoScales) {
        int32_t half = 0;
        for (int64_t i = 4 * first; i < 4 * first + 16; ++i) half += 128 * group.high[0][i] + group.low[0][i];
        f.offset[0][k][r] = Format::kOffset * half;
        f.offset[1][k][r] = Format::kOffset * (sum - half);
      }
    }
  }
}

BEACON_INLINE __m512i broadcast_word(const int8_t* p) {
  int32_t word = 0;
  __builtin_memcpy(&word, p, sizeof word);
  return _mm512_set1_epi32(word);
}

// The products of the words [kFirst, kLast) of block k, whose activations begin `at` bytes behind the rows'
// first ones, added to the totals.
template <typename Format, int R, int kFirst, int kLast>
BEACON_INLINE void add_words(const BytePanel& panel, int64_t k, const int8_t* const (&x)[R], int64_t at,
                             const RowFactors& f, int64_t factor, VF (&totals)[R]) {
  constexpr int64_t kLow = offsetof(Q15Group, low) - offsetof(Q15Group, high);
  __m512i high[R] = {}, low[R] = {};
  BEACON_UNROLL
  for (int word = kFirst; word < kLast; ++word) {
    const __m512i weights = panel.words[k][word];
    BEACON_UNROLL
    for (int r = 0; r < R; ++r) {
      const int8_t* from = x[r] + at + 64 * (word / 4) + 4 * (word % 4);
      high[r] = _mm512_dpbusd_epi32(high[r], weights, broadcast_word(from));
      low[r] = _mm512_dpbusd_epi32(low[r], weights, broadcast_word(from + kLow));
    }
  }
  constexpr int kHalf = kFirst == 0 ? 0 : 1;
  BEACON_UNROLL
  for (int r = 0; r < R; ++r) {
    VI products = ((VI)high[r] << 7) + (VI)low[r];
    if constexpr (Format::kOffset != 0) products = products - f.offset[kHalf][factor][r];
    totals[r] = multiply_add(to_float(products) * f.scale[factor][r], panel.scale[kHalf][k], totals[r]);
  }
}

// Fetches one part of `parts` of the blocks [begin, end) of the panel that follows: products leave time for
// it, and the processor's own prefetching does not follow so many rows at a time.
template <typename Format>
BEACON_INLINE void fetch_next(const PanelRows& rows, int64_t begin, int64_t end, int64_t part,
                              int64_t parts) {
  const int64_t from = rows.to_next + Format::kGroupBytes * begin / 4,
                bytes = Format::kGroupBytes * (end - begin) / 4;
  for (int64_t o = kLanes * part / parts; o < kLanes * (part + 1) / parts; ++o) {
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(rows.at[o] + from + i);
  }
}

// Adds the products of a panel's blocks [begin, end) with `count` <= R rows from r0 on to y; the first blocks
// begin with the bias, and with y only where p.accumulate says so. The factors are those from the first block
// of the section on.
template <typename Format, int R>
__attribute__((noinline)) void multiply_byte_panel(const LinearQ15Params& p, int64_t r0, int64_t count,
                                                   int64_t o0, __mmask16 outputs, int64_t section,
                                                   int64_t begin, int64_t end, const BytePanel& panel,
                                                   const RowFactors& f, const PanelRows& weights) {
  const auto y_at = [&](int64_t r) { return p.y + (r0 + r) * p.y_stride + o0; };
  VF totals[R] = {};
  BEACON_UNROLL
  for (int r = 0; r < R; ++r) {
    if (r < count && (begin > 0 || p.accumulate)) totals[r] = (VF)_mm512_maskz_loadu_ps(outputs, y_at(r));
    if (begin == 0 && p.bias != nullptr) totals[r] += (VF)_mm512_maskz_loadu_ps(outputs, p.bias + o0);
  }
  const int8_t* x[R];
  for (int r = 0; r < R; ++r) x[r] = p.x[(r0 + (r < count ? r : count - 1)) * p.x_stride + begin / 4].high[0];
  for (int64_t b = begin; b < end; ++b) {
    fetch_next<Format>(weights, begin, end, b - begin, end - begin);
    const int64_t k = b - begin, at = k / 4 * static_cast<int64_t>(sizeof(Q15Group)) + k % 4 * 16;
    if constexpr (Format::kTwoScales) {
      add_words<Format, R, 0, kBlockWords / 2>(panel, k, x, at, f, b - section, totals);
      add_words<Format, R, kBlockWords / 2, kBlockWords>(panel, k, x, at, f, b - section, totals);
    } else {
      add_words<Format, R, 0, kBlockWords>(panel, k, x, at, f, b - section, totals);
    }
    if constexpr (Format::kHasMinimum) {
      BEACON_UNROLL
      for (int r = 0; r < R; ++r)
        totals[r] = multiply_add(panel.minimum[k], broadcast(f.sum[b - section][r]), totals[r]);
    }
  }
  for (int r = 0; r < count; ++r) _mm512_mask_storeu_ps(y_at(r), outputs, (__m512)totals[r]);
}

// Outputs [o, o + count); those of the panel that are not there repeat the last one.
inline PanelRows panel_rows(const LinearQ15Params& p, int64_t o, int64_t count) {
  PanelRows rows;
  for (int64_t i = 0; i < kLanes; ++i) {
    rows.at[i] =
        reinterpret_cast<const uint8_t*>(p.weight + (o + (i < count ? i : count - 1)) * p.weight_row_bytes);
  }
  rows.to_next = kLanes * p.weight_row_bytes;
  return rows;
}

// Outputs [o_begin, o_end) of rows [r0, r0 + rows), rows <= kRowsOfPanel.
template <typename Format>
void multiply_in_panels(const LinearQ15Params& p, int64_t r0, int64_t rows, int64_t o_begin, int64_t o_end) {
  BytePanel panel;
  RowFactors factors[kRowsOfPanel / kRowsTogether];
  const auto each_rows = [&](auto body) {
    for (int64_t r = 0; r < rows; r += kRowsTogether)
      body(r0 + r, rows - r < kRowsTogether ? rows - r : kRowsTogether, factors[r / kRowsTogether]);
  };
  const int64_t blocks = p.in / 32;
  for (int64_t section = 0; section < blocks; section += kSection) {
    const int64_t section_end = blocks - section < kSection ? blocks : section + kSection;
    each_rows([&](int64_t r, int64_t there, RowFactors& f) {
      fill_factors<Format>(p, r, there, section, section_end, f);
    });
    for (int64_t o = o_begin; o < o_end; o += kLanes) {
      const int64_t count = o_end - o < kLanes ? o_end - o : kLanes;
      const auto outputs = static_cast<__mmask16>((1U << count) - 1U);
      const PanelRows weights = panel_rows(p, o, count);
      for (int64_t begin = section; begin < section_end; begin += kBlocksOfPanel) {
        const int64_t end = section_end - begin < kBlocksOfPanel ? section_end : begin + kBlocksOfPanel;
        unpack_byte_panel<Format>(weights, begin, end, panel);
        each_rows([&](int64_t r, int64_t there, const RowFactors& f) {
          constexpr int kFewer = kRowsTogether / 2;
          if (there <= kFewer)
            multiply_byte_panel<Format, kFewer>(p, r, there, o, outputs, section, begin, end, panel, f,
                                                weights);
          else
            multiply_byte_panel<Format, kRowsTogether>(p, r, there, o, outputs, section, begin, end, panel, f,
                                                       weights);
        });
      }
    }
  }
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE

#endif  // __AVX512VNNI__
