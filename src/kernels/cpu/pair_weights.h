// Storing the weights of two neighbouring keys for one vector of rows as words.
#pragma once

#include "kernels/cpu/attention_space.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// Keys are the summed dimension: dst [keys in words, kAttentionBlock rows].
template <typename Words>
BEACON_INLINE void store_summed_keys(VF first, VF second, float* dst) {
  if constexpr (Words::kPerWord == 1) {
    store(dst, first);
    store(dst + kAttentionBlock, second);
  } else {
#if defined(__AVX512BF16__)
    const VU low = __builtin_convertvector((VH)_mm512_cvtneps_pbh((__m512)first), VU);
    const VU high = __builtin_convertvector((VH)_mm512_cvtneps_pbh((__m512)second), VU);
    store(dst, as_float(low | (high << 16)));
#endif
  }
}

// Rows are the summed dimension: dst [keys, kAttentionBlock rows in words], at the place of the vector's
// first row and the first key.
template <typename Words>
BEACON_INLINE void store_summed_rows(VF first, VF second, float* dst) {
  if constexpr (Words::kPerWord == 1) {
    store(dst, first);
    store(dst + kAttentionBlock, second);
  } else {
#if defined(__AVX512BF16__)
    store_half(reinterpret_cast<uint16_t*>(dst), (VH)_mm512_cvtneps_pbh((__m512)first));
    store_half(reinterpret_cast<uint16_t*>(dst + kAttentionBlock / 2),
               (VH)_mm512_cvtneps_pbh((__m512)second));
#endif
  }
}

// Rows [begin, end) of a head with the rows as the summed dimension, transposed: dst [padded, kRowWords].
// natural and paired are [kAttentionBlock, words] each.
template <typename Words>
void pack_columns(const GroupRows& rows, int64_t begin, int64_t end, const HeadSize<Words>& head,
                  float* natural, float* paired, float* dst) {
  pack_rows<Words>(rows, begin, end, head.dim, head.padded, {natural, head.words});
  pair_rows<Words>({natural, head.words}, head.padded, {paired, head.padded});
  transpose_block({paired, head.padded}, head.kRowWords, head.padded, {dst, head.kRowWords});
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
