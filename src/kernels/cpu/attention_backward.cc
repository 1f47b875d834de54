// The backward pass of attention for training. A unit of keys goes over all blocks of rows and computes their
// weights again, transposed ([keys, rows]) as in the forward pass; dk and dv are finished by their unit, dq
// is the sum of what the units of keys leave in the workspace.
#include "kernels/cpu/attention_space.h"
#include "kernels/cpu/functions.h"
#include "kernels/cpu/pair_weights.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// One block of rows as every unit of keys of its KV head reads it.
template <typename Words>
struct RowPack {
  RowPack(const HeadSize<Words>& head, Parts& parts)
      : q(parts.take(head.block())),
        q_summed(parts.take(head.block())),
        dout(parts.take(head.block())),
        dout_summed(parts.take(head.block())),
        slope(parts.take(kAttentionBlock)),
        shift{parts.take(kAttentionBlock), parts.take(kAttentionBlock)} {}
  float* q;            // [words, kAttentionBlock]: the head is the summed dimension
  float* q_summed;     // [kRowWords, padded]: the rows are
  float* dout;         // as q
  float* dout_summed;  // as q_summed
  float* slope;        // [kAttentionBlock] dout . out
  RowShift shift;      // -lse, with and without the bias
};

// What the units of one KV head share; every call lays it out in the same way.
template <typename Words>
struct Workspace {
  Workspace(const AttentionParams& p, float* memory)
      : head(p),
        shape(attention_shape(p)),
        bias(memory),
        parts(memory == nullptr ? nullptr : memory + grad_bias_floats(p)) {
    Parts one(nullptr);
    const RowPack<Words> unused(head, one);
    pack_floats = round_up(one.used(), 16);
    packs = parts.take(p.num_kv_heads * shape.row_blocks * pack_floats);
    dq = parts.take(p.num_kv_heads * shape.chunks * shape.row_blocks * head.sums());
    written = parts.take(p.num_kv_heads * shape.chunks * shape.row_blocks);
  }
  BEACON_INLINE RowPack<Words> pack(int64_t kv_head, int64_t block) const {
    Parts one(packs + (kv_head * shape.row_blocks + block) * pack_floats);
    return RowPack<Words>(head, one);
  }
  BEACON_INLINE int64_t part(int64_t kv_head, int64_t chunk, int64_t block) const {
    return (kv_head * shape.chunks + chunk) * shape.row_blocks + block;
  }
  HeadSize<Words> head;
  AttentionShape shape;
  float* bias;  // see grad_bias_offset()
  Parts parts;
  int64_t pack_floats;
  float* packs;    // [K, row_blocks] of RowPack
  float* dq;       // [K, chunks, row_blocks, padded, kAttentionBlock] parts of dq / scale, transposed
  float* written;  // [K, chunks, row_blocks] 1 where the part of dq was written, else 0
};

// One block of keys of a unit.
template <typename Words>
struct KeyState {
  float* k;         // [kAttentionBlock, words]
  float* v;         // [kAttentionBlock, words]
  float* k_summed;  // [padded, kRowWords]
  float* dk;        // [kAttentionBlock, padded] gradient / scale
  float* dv;        // [kAttentionBlock, padded]
};

template <typename Words>
struct BackwardSpace {
  BackwardSpace(const AttentionParams& p, const HeadSize<Words>& head, Parts& parts) {
    scores = parts.take(kBlockFloats);
    slopes = parts.take(kBlockFloats);
    weights = parts.take(kBlockFloats);
    d_rows = parts.take(kBlockFloats);
    d_keys = Words::kPerWord == 1 ? d_rows : parts.take(kBlockFloats);
    packed = parts.take(head.sums());
    paired = parts.take(head.block());
    visible = reinterpret_cast<uint8_t*>(parts.take(kBlockFloats / 4));
    per_block = 3 * head.block() + 2 * head.sums();
    blocks = parts.take(attention_shape(p).chunk_keys / kAttentionBlock * per_block);
  }
  BEACON_INLINE KeyState<Words> keys(const HeadSize<Words>& head, int64_t block) const {
    float* first = blocks + block * per_block;
    return {first, first + head.block(), first + 2 * head.block(), first + 3 * head.block(),
            first + 3 * head.block() + head.sums()};
  }
  float* scores;     // [keys, rows]
  float* slopes;     // [keys, rows] dout . v
  float* weights;    // [keys, rows in words]
  float* d_rows;     // [keys, rows in words] gradients of scores
  float* d_keys;     // [keys in words, rows] the same
  float* packed;     // [kAttentionBlock, padded]
  float* paired;     // [kRowWords, padded]
  uint8_t* visible;  // [keys, rows]
  int64_t per_block;
  float* blocks;  // [chunk_keys / kAttentionBlock] of KeyState
};

// Gradients of the scores of two neighbouring keys and one vector of rows.
template <typename Words, bool kAllSeen>
BEACON_INLINE void score_gradients(const AttentionParams& p, int64_t key, const RowPack<Words>& rows,
                                   int64_t offset, int64_t column, const BackwardSpace<Words>& space,
                                   float* bias) {
  VF weights[2];
  VF gradients[2];
  BEACON_UNROLL
  for (int i = 0; i < 2; ++i) {
    const int64_t at = offset + i * kAttentionBlock + column;
    const float* shift = rows.shift.of(p, key + i);
    VF weight =
        exp_nonpositive(multiply_add(load(space.scores + at), broadcast(p.scale), load(shift + column)));
    if constexpr (!kAllSeen) weight = seen_or(weight, VF{}, space.visible + at);
    weights[i] = weight;
    gradients[i] = weight * (load(space.slopes + at) - load(rows.slope + column));
    if (bias != nullptr && shift == rows.shift.biased)
      store(bias + column, load(bias + column) + gradients[i]);
  }
  const int64_t row_word = column / Words::kPerWord;
  const int64_t by_rows = offset / Words::kPerWord + row_word;
  store_summed_rows<Words>(weights[0], weights[1], space.weights + by_rows);
  store_summed_rows<Words>(gradients[0], gradients[1], space.d_rows + by_rows);
  if constexpr (Words::kPerWord != 1)
    store_summed_keys<Words>(gradients[0], gradients[1], space.d_keys + offset / Words::kPerWord + column);
}

template <typename Words>
void differentiate(const AttentionParams& p, const HeadSize<Words>& head, const BlockPair& pair, Sight sight,
                   const BackwardSpace<Words>& space, const RowPack<Words>& rows, const KeyState<Words>& keys,
                   float* bias) {
  const Block k = {keys.k, head.words};
  const Block v = {keys.v, head.words};
  multiply_block<Words, Onto::kNothing>(k, {rows.q, kAttentionBlock}, kAttentionBlock, kAttentionBlock,
                                        head.words, {space.scores, kAttentionBlock});
  multiply_block<Words, Onto::kNothing>(v, {rows.dout, kAttentionBlock}, kAttentionBlock, kAttentionBlock,
                                        head.words, {space.slopes, kAttentionBlock});
  for (int64_t j = 0; j < kAttentionBlock; j += 2) {
    for (int64_t column = 0; column < kAttentionBlock; column += kLanes) {
      if (sight == Sight::kAll) {
        score_gradients<Words, true>(p, pair.key_begin + j, rows, j * kAttentionBlock, column, space, bias);
      } else {
        score_gradients<Words, false>(p, pair.key_begin + j, rows, j * kAttentionBlock, column, space, bias);
      }
    }
  }
  multiply_block<Words, Onto::kResult>({space.weights, head.kRowWords}, {rows.dout_summed, head.padded},
                                       kAttentionBlock, head.padded, head.kRowWords, {keys.dv, head.padded});
  multiply_block<Words, Onto::kResult>({space.d_rows, head.kRowWords}, {rows.q_summed, head.padded},
                                       kAttentionBlock, head.padded, head.kRowWords, {keys.dk, head.padded});
}

// One block of rows over all keys of a unit.
template <typename Words>
void row_block(const AttentionParams& p, const Workspace<Words>& work, const BackwardSpace<Words>& space,
               int64_t kv_head, int64_t chunk, int64_t block) {
  const HeadSize<Words>& head = work.head;
  const RowPack<Words> rows = work.pack(kv_head, block);
  const int64_t part = work.part(kv_head, chunk, block);
  const Block dq = {work.dq + part * head.sums(), kAttentionBlock};
  const int64_t row_begin = block * kAttentionBlock;
  const int64_t row_end = least(work.shape.rows, row_begin + kAttentionBlock);
  const int64_t chunk_begin = chunk * work.shape.chunk_keys;
  const int64_t chunk_end = least(p.num_keys, chunk_begin + work.shape.chunk_keys);
  float bias[kAttentionBlock] = {};
  bool written = false;
  for (int64_t s = chunk_begin; s < chunk_end; s += kAttentionBlock) {
    const BlockPair pair = {row_begin, row_end, s, least(chunk_end, s + kAttentionBlock), work.shape.group};
    const Sight sight = look(p, pair, space.visible);
    if (sight == Sight::kNone) continue;
    const KeyState<Words> keys = space.keys(head, (s - chunk_begin) / kAttentionBlock);
    differentiate(p, head, pair, sight, space, rows, keys, p.dbias == nullptr ? nullptr : bias);
    const Block k = {keys.k_summed, head.kRowWords};
    const Block gradients = {space.d_keys, kAttentionBlock};
    if (written) {
      multiply_block<Words, Onto::kResult>(k, gradients, head.padded, kAttentionBlock, head.kRowWords, dq);
    } else {
      multiply_block<Words, Onto::kNothing>(k, gradients, head.padded, kAttentionBlock, head.kRowWords, dq);
    }
    written = true;
  }
  work.written[part] = written ? 1.0F : 0.0F;
  if (p.dbias != nullptr)
    __builtin_memcpy(work.bias + grad_bias_offset(p, kv_head, chunk) + row_begin, bias, sizeof bias);
}

template <typename Words>
void key_unit(const AttentionParams& p, int64_t unit, const Workspace<Words>& work,
              const BackwardSpace<Words>& space) {
  const HeadSize<Words>& head = work.head;
  const int64_t kv_head = unit / work.shape.chunks;
  const int64_t chunk = unit % work.shape.chunks;
  const int64_t begin = chunk * work.shape.chunk_keys;
  const int64_t end = least(p.num_keys, begin + work.shape.chunk_keys);
  const GroupRows k = group_rows(p.k, kv_head, 1);
  const GroupRows v = group_rows(p.v, kv_head, 1);
  for (int64_t s = begin; s < end; s += kAttentionBlock) {
    const KeyState<Words> keys = space.keys(head, (s - begin) / kAttentionBlock);
    pack_columns<Words>(k, s, end, head, keys.k, space.paired, keys.k_summed);
    pack_rows<Words>(v, s, end, head.dim, head.padded, {keys.v, head.words});
    __builtin_memset(keys.dk, 0, static_cast<size_t>(head.sums()) * 4);
    __builtin_memset(keys.dv, 0, static_cast<size_t>(head.sums()) * 4);
  }
  for (int64_t block = 0; block < work.shape.row_blocks; ++block)
    row_block(p, work, space, kv_head, chunk, block);
  float scales[kAttentionBlock];
  float ones[kAttentionBlock];
  for (int64_t r = 0; r < kAttentionBlock; ++r) {
    scales[r] = p.scale;
    ones[r] = 1.0F;
  }
  const GroupRows dk = group_rows(p.dk, kv_head, 1);
  const GroupRows dv = group_rows(p.dv, kv_head, 1);
  for (int64_t s = begin; s < end; s += kAttentionBlock) {
    const KeyState<Words> keys = space.keys(head, (s - begin) / kAttentionBlock);
    const int64_t block_end = least(end, s + kAttentionBlock);
    write_rows(dk, s, block_end, head.dim, {keys.dk, head.padded}, scales);
    write_rows(dv, s, block_end, head.dim, {keys.dv, head.padded}, ones);
  }
}

// Packs one block of rows for all units of keys.
template <typename Words>
void row_unit(const AttentionParams& p, int64_t unit, const Workspace<Words>& work,
              const BackwardSpace<Words>& space) {
  const HeadSize<Words>& head = work.head;
  const int64_t group = work.shape.group;
  const int64_t kv_head = unit / work.shape.row_blocks;
  const int64_t begin = unit % work.shape.row_blocks * kAttentionBlock;
  const int64_t end = least(work.shape.rows, begin + kAttentionBlock);
  const RowPack<Words> pack = work.pack(kv_head, unit % work.shape.row_blocks);
  const GroupRows q = group_rows(p.q, kv_head, group);
  const GroupRows dout = group_rows(p.dout, kv_head, group);
  const GroupRows out = group_rows(p.out, kv_head, group);
  const Block natural = {space.packed, head.words};
  pack_rows<Words>(q, begin, end, head.dim, head.padded, natural);
  transpose_block(natural, kAttentionBlock, head.words, {pack.q, kAttentionBlock});
  pair_rows<Words>(natural, head.padded, {pack.q_summed, head.padded});
  pack_rows<Words>(dout, begin, end, head.dim, head.padded, natural);
  transpose_block(natural, kAttentionBlock, head.words, {pack.dout, kAttentionBlock});
  pair_rows<Words>(natural, head.padded, {pack.dout_summed, head.padded});
  for (int64_t r = 0; r < kAttentionBlock; ++r) {
    // Rows of padding have no weight on any key.
    pack.slope[r] = 0;
    pack.shift.plain[r] = pack.shift.biased[r] = -kInfinity;
    if (begin + r >= end) continue;
    widen_row(dout.type, dout.at(begin + r), head.dim, head.padded, space.packed);
    widen_row(out.type, out.at(begin + r), head.dim, head.padded, space.paired);
    VF sum = {};
    for (int64_t h = 0; h < head.padded; h += kLanes)
      sum = multiply_add(load(space.packed + h), load(space.paired + h), sum);
    const int64_t n = kv_head * group + (begin + r) % group;
    const float lse = p.lse[n * p.num_queries + (begin + r) / group];
    pack.slope[r] = sum_lanes(sum);
    pack.shift.plain[r] = -lse;
    pack.shift.biased[r] = (p.head_bias == nullptr ? 0.0F : p.head_bias[n]) - lse;
  }
}

template <typename Words>
void query_unit(const AttentionParams& p, int64_t unit, const Workspace<Words>& work,
                const BackwardSpace<Words>& space) {
  const HeadSize<Words>& head = work.head;
  const int64_t kv_head = unit / work.shape.row_blocks;
  const int64_t block = unit % work.shape.row_blocks;
  float* sums = space.blocks;
  float* turned = space.blocks + head.sums();
  __builtin_memset(sums, 0, static_cast<size_t>(head.sums()) * 4);
  for (int64_t chunk = 0; chunk < work.shape.chunks; ++chunk) {
    const int64_t part = work.part(kv_head, chunk, block);
    if (work.written[part] == 0.0F) continue;
    const float* from = work.dq + part * head.sums();
    for (int64_t i = 0; i < head.sums(); i += kLanes) store(sums + i, load(sums + i) + load(from + i));
  }
  transpose_block({sums, kAttentionBlock}, head.padded, kAttentionBlock, {turned, head.padded});
  float scales[kAttentionBlock];
  for (float& scale : scales) scale = p.scale;
  const int64_t begin = block * kAttentionBlock;
  write_rows(group_rows(p.dq, kv_head, work.shape.group), begin,
             least(work.shape.rows, begin + kAttentionBlock), head.dim, {turned, head.padded}, scales);
}

// Runs unit(p, index, workspace, scratch) for each index.
template <typename Unit>
BEACON_INLINE void for_units(const AttentionParams& p, int64_t begin, int64_t end, float* workspace,
                             float* scratch, const Unit& unit) {
  with_words(p, [&]<typename Words>(Words) {
    const Workspace<Words> work(p, workspace);
    Parts parts(scratch);
    const BackwardSpace<Words> space(p, work.head, parts);
    for (int64_t index = begin; index < end; ++index) unit(index, work, space);
  });
}

}  // namespace

int64_t attention_backward_scratch_floats(const AttentionParams& p) noexcept {
  return with_words(p, [&]<typename Words>(Words) {
    Parts parts(nullptr);
    const BackwardSpace<Words> unused(p, HeadSize<Words>(p), parts);
    return parts.used();
  });
}

int64_t attention_backward_workspace_floats(const AttentionParams& p) noexcept {
  return with_words(p, [&]<typename Words>(Words) { return Workspace<Words>(p, nullptr).parts.used(); });
}

void attention_backward_rows(const AttentionParams& p, int64_t unit_begin, int64_t unit_end, float* workspace,
                             float* scratch) noexcept {
  for_units(p, unit_begin, unit_end, workspace, scratch,
            [&](int64_t unit, const auto& work, const auto& space) { row_unit(p, unit, work, space); });
}

void attention_backward_keys(const AttentionParams& p, int64_t unit_begin, int64_t unit_end, float* workspace,
                             float* scratch) noexcept {
  for_units(p, unit_begin, unit_end, workspace, scratch,
            [&](int64_t unit, const auto& work, const auto& space) { key_unit(p, unit, work, space); });
}

void attention_backward_queries(const AttentionParams& p, int64_t unit_begin, int64_t unit_end,
                                float* workspace, float* scratch) noexcept {
  for_units(p, unit_begin, unit_end, workspace, scratch,
            [&](int64_t unit, const auto& work, const auto& space) { query_unit(p, unit, work, space); });
}

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
