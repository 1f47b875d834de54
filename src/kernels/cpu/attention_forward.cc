// The forward pass of attention. Scores are kept transposed, [keys, rows]: the softmax of a row
// then runs down a column, and no vector is ever summed across its lanes.
#include "kernels/cpu/attention_unit.h"
#include "kernels/cpu/functions.h"
#include "kernels/cpu/pair_weights.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// One block of rows and what it has gathered.
struct RowState : Gathered {
  float* q;  // [words, kAttentionBlock]
  RowShift shift;
};

template <typename Words>
struct ForwardSpace {
  explicit ForwardSpace(const HeadSize<Words>& head, Parts& parts) {
    for (RowState& rows : states) {
      rows = {{parts.take(head.sums()), parts.take(kAttentionBlock), parts.take(kAttentionBlock)},
              parts.take(head.block()),
              {parts.take(kAttentionBlock), parts.take(kAttentionBlock)}};
    }
    packed = parts.take(head.sums());
    paired = parts.take(head.block());
    k = parts.take(head.block());
    v = parts.take(head.block());
    scores = parts.take(kBlockFloats);
    weights = parts.take(kBlockFloats);
    keep = parts.take(kAttentionBlock);
    visible = reinterpret_cast<uint8_t*>(parts.take(kBlockFloats / 4));
  }
  static constexpr float kNats = 1;
  RowState states[kAttentionForwardBlocks];
  float* packed;     // [kAttentionBlock, padded] on the way to another layout
  float* paired;     // [kRowWords, padded] the same
  float* k;          // [kAttentionBlock, words]
  float* v;          // [padded, kRowWords]
  float* scores;     // [keys, rows]
  float* weights;    // [keys in words, rows]
  float* keep;       // [kAttentionBlock]
  uint8_t* visible;  // [keys, rows]
};

template <typename Words>
void start_rows(const AttentionParams& p, const HeadSize<Words>& head, int64_t kv_head, int64_t row_begin,
                int64_t row_end, const ForwardSpace<Words>& space, const RowState& state) {
  const int64_t group = p.num_heads / p.num_kv_heads;
  pack_rows<Words>(group_rows(p.q, kv_head, group), row_begin, row_end, head.dim, head.padded,
                   {space.packed, head.words});
  transpose_block({space.packed, head.words}, kAttentionBlock, head.words, {state.q, kAttentionBlock});
  for (int64_t r = 0; r < kAttentionBlock; ++r) {
    state.largest[r] = -kInfinity;
    state.total[r] = 0;
    state.shift.plain[r] = 0;
    state.shift.biased[r] =
        p.head_bias == nullptr ? 0 : p.head_bias[kv_head * group + (row_begin + r) % group];
  }
  __builtin_memset(state.out, 0, static_cast<size_t>(head.sums()) * 4);
}

// The running softmax of one vector of rows: turns its column of scores into weights, and tells what the
// earlier results are to be multiplied with.
template <typename Words, bool kAllSeen>
BEACON_INLINE void soften_column(const AttentionParams& p, int64_t key_begin, int64_t column,
                                 const RowState& rows, float* scores, const uint8_t* visible, float* weights,
                                 float* keep) {
  const VF before = load(rows.largest + column);
  VF largest = before;
  for (int64_t j = 0; j < kAttentionBlock; ++j) {
    float* score = scores + j * kAttentionBlock + column;
    VF value = load(score) * p.scale + load(rows.shift.of(p, key_begin + j) + column);
    if constexpr (!kAllSeen)
      value = seen_or(value, broadcast(-kInfinity), visible + j * kAttentionBlock + column);
    store(score, value);
    largest = larger(value, largest);
  }
  // While nothing is visible both are -inf, and their difference would be NaN.
  const VF shift = select(largest == -kInfinity, VF{}, largest);
  VF sum = {};
  for (int64_t j = 0; j < kAttentionBlock; j += 2) {
    const float* score = scores + j * kAttentionBlock + column;
    const VF first = exp_nonpositive(load(score) - shift);
    const VF second = exp_nonpositive(load(score + kAttentionBlock) - shift);
    sum = sum + (first + second);
    store_summed_keys<Words>(first, second, weights + j / Words::kPerWord * kAttentionBlock + column);
  }
  const VF factor = exp_nonpositive(before - shift);
  store(keep + column, factor);
  store(rows.total + column, load(rows.total + column) * factor + sum);
  store(rows.largest + column, largest);
}

template <typename Words>
void attend_block(const AttentionParams& p, const HeadSize<Words>& head, const BlockPair& pair, Sight sight,
                  const ForwardSpace<Words>& space, const RowState& rows) {
  multiply_block<Words, Onto::kNothing>({space.k, head.words}, {rows.q, kAttentionBlock}, kAttentionBlock,
                                        kAttentionBlock, head.words, {space.scores, kAttentionBlock});
  for (int64_t column = 0; column < kAttentionBlock; column += kLanes) {
    if (sight == Sight::kAll) {
      soften_column<Words, true>(p, pair.key_begin, column, rows, space.scores, space.visible, space.weights,
                                 space.keep);
    } else {
      soften_column<Words, false>(p, pair.key_begin, column, rows, space.scores, space.visible, space.weights,
                                  space.keep);
    }
  }
  multiply_block<Words, Onto::kScaledResult>({space.v, head.kRowWords}, {space.weights, kAttentionBlock},
                                             head.padded, kAttentionBlock, head.kRowWords,
                                             {rows.out, kAttentionBlock}, space.keep);
}

template <typename Words>
void pack_keys(const AttentionParams& p, const HeadSize<Words>& head, int64_t kv_head, int64_t begin,
               int64_t end, const ForwardSpace<Words>& space) {
  pack_rows<Words>(group_rows(p.k, kv_head, 1), begin, end, head.dim, head.padded, {space.k, head.words});
  pack_columns<Words>(group_rows(p.v, kv_head, 1), begin, end, head, space.packed, space.paired, space.v);
}

}  // namespace

int64_t attention_forward_scratch_floats(const AttentionParams& p) noexcept {
#if defined(__AVX2__)
  if (p.integers) return attention_integers_scratch_floats(p);
#endif
  return with_words(p, [&]<typename Words>(Words) {
    Parts parts(nullptr);
    const ForwardSpace<Words> unused(HeadSize<Words>(p), parts);
    return parts.used();
  });
}

void attention_forward(const AttentionParams& p, int64_t unit_begin, int64_t unit_end,
                       float* scratch) noexcept {
#if defined(__AVX2__)
  if (p.integers) return attention_integers(p, unit_begin, unit_end, scratch);
#endif
  with_words(p, [&]<typename Words>(Words) {
    const HeadSize<Words> head(p);
    Parts parts(scratch);
    const ForwardSpace<Words> space(head, parts);
    for (int64_t unit = unit_begin; unit < unit_end; ++unit) forward_unit(p, unit, head, space);
  });
}

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
