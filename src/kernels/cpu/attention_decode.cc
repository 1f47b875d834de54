// Attention of few queries: keys are read where they lie, since nothing would pay for packing them.
#include "kernels/cpu/decode_mask.h"
#include "kernels/cpu/functions.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

struct Workspace {
  float* q;        // [rows, padded H] scaled
  float* out;      // [rows, padded H]
  float* largest;  // [rows]
  float* total;    // [rows]
  float* keys;     // [kKeyBlock, padded H] and
  float* values;   // the same, only when they cannot be read in place
  float* scores;   // [kTileRows, kKeyBlock]
};

int64_t lay_out(const AttentionDecodeParams& p, float* scratch, Workspace& w) {
  const int64_t rows = p.num_queries * (p.num_heads / p.num_kv_heads);
  const int64_t padded_dim = round_up(p.head_dim, kLanes);
  const int64_t misaligned = static_cast<int64_t>(reinterpret_cast<uintptr_t>(scratch) / 4 % 16);
  int64_t used = scratch == nullptr ? 16 : (16 - misaligned) % 16;
  const auto take = [&](int64_t floats) {
    float* part = scratch == nullptr ? nullptr : scratch + used;
    used += round_up(floats, 16);
    return part;
  };
  const int64_t copied = reading_of(p) == Reading::kCopy ? padded_dim * kKeyBlock : 0;
  w.q = take(rows * padded_dim);
  w.out = take(rows * padded_dim);
  w.largest = take(rows);
  w.total = take(rows);
  w.keys = take(copied);
  w.values = take(copied);
  w.scores = take(kTileRows * kKeyBlock);
  return used;
}

// Rows in threes: their sums, four keys and a query fill the registers.
template <typename Rows>
void score_any_rows(const float* q, Rows k, int64_t n, int64_t padded_dim, int64_t rows, float* scores) {
  int64_t r = 0;
  for (; r + 3 <= rows; r += 3) score_rows<3>(q + r * padded_dim, k, n, padded_dim, scores + r * kKeyBlock);
  if (rows - r == 2) score_rows<2>(q + r * padded_dim, k, n, padded_dim, scores + r * kKeyBlock);
  if (rows - r == 1) score_rows<1>(q + r * padded_dim, k, n, padded_dim, scores + r * kKeyBlock);
}

template <typename Rows>
void add_any_values(const float* weights, Rows v, int64_t n, const float* keep, float* out,
                    int64_t padded_dim, int64_t rows) {
  int64_t r = 0;
  for (; r + 3 <= rows; r += 3)
    add_values<3>(weights + r * kKeyBlock, v, n, keep + r, out + r * padded_dim, padded_dim);
  if (rows - r == 2) add_values<2>(weights + r * kKeyBlock, v, n, keep + r, out + r * padded_dim, padded_dim);
  if (rows - r == 1) add_values<1>(weights + r * kKeyBlock, v, n, keep + r, out + r * padded_dim, padded_dim);
}

void start_rows(const AttentionDecodeParams& p, const QueryRows& rows, const Workspace& w) {
  const int64_t padded_dim = round_up(p.head_dim, kLanes);
  const Reading reading = reading_of(p);
  for (int64_t row = 0; row < rows.count; ++row) {
    const float* q = p.q + rows.query(row) * p.q_row_stride + rows.head(row) * p.q_head_stride;
    float* packed = w.q + row * padded_dim;
    for (int64_t h = 0; h < padded_dim; ++h) packed[h] = w.out[row * padded_dim + h] = 0;
    for (int64_t h = 0; h < p.head_dim; ++h) packed[place_of(reading, h)] = q[h] * p.scale;
    w.largest[row] = kMinusInfinity;
    w.total[row] = 0;
  }
}

// All query rows over keys k and values v, the rows of one block.
template <typename Rows>
void attend_rows(const AttentionDecodeParams& p, const QueryRows& rows, const KeyBlock& block, Rows k, Rows v,
                 const Workspace& w) {
  const int64_t padded_dim = round_up(p.head_dim, kLanes);
  float keep[kTileRows];
  for (int64_t row = 0; row < rows.count; row += kTileRows) {
    const int64_t tile_rows = least(kTileRows, rows.count - row);
    const int64_t n = needed_keys(p, rows, row, tile_rows, block);
    if (n == 0) continue;
    score_any_rows(w.q + row * padded_dim, k, n, padded_dim, tile_rows, w.scores);
    mask_tile(p, rows, row, tile_rows, block, n, w.scores);
    soften_tile(w.scores, static_cast<int>(tile_rows), n, w.largest + row, w.total + row, keep);
    add_any_values(w.scores, v, n, keep, w.out + row * padded_dim, padded_dim, tile_rows);
  }
}

void attend_block(const AttentionDecodeParams& p, const QueryRows& rows, const KeyBlock& block,
                  const HeadRows& keys, const HeadRows& values, const Workspace& w) {
  const int64_t padded_dim = round_up(p.head_dim, kLanes);
  switch (reading_of(p)) {
    case Reading::kFloats:
      attend_rows(p, rows, block, FloatRows{keys.floats(block.begin), keys.row_stride},
                  FloatRows{values.floats(block.begin), values.row_stride}, w);
      break;
    case Reading::kHalves:
      attend_rows(p, rows, block, HalfRows{keys.halves(block.begin), keys.row_stride},
                  HalfRows{values.halves(block.begin), values.row_stride}, w);
      break;
    case Reading::kCopy:
      copy_rows(keys, block.begin, block.n, p.head_dim, w.keys);
      copy_rows(values, block.begin, block.n, p.head_dim, w.values);
      attend_rows(p, rows, block, FloatRows{w.keys, padded_dim}, FloatRows{w.values, padded_dim}, w);
      break;
  }
}

void attend_chunk(const AttentionDecodeParams& p, int64_t chunks, int64_t unit, float* partials,
                  const Workspace& w) {
  const int64_t kv_head = unit / chunks;
  const int64_t group = p.num_heads / p.num_kv_heads;
  const int64_t step = (p.num_keys + chunks - 1) / chunks;
  const int64_t begin = least(p.num_keys, unit % chunks * step);
  const int64_t end = least(p.num_keys, begin + step);
  const QueryRows rows = {0, p.num_queries * group, group, kv_head * group};
  const HeadRows keys = key_rows(p, kv_head);
  const HeadRows values = value_rows(p, kv_head);
  start_rows(p, rows, w);
  for (int64_t s = begin; s < end; s += kKeyBlock)
    attend_block(p, rows, make_key_block(p, s, end), keys, values, w);

  const int64_t padded_dim = round_up(p.head_dim, kLanes);
  const Reading reading = reading_of(p);
  float* partial = partials + unit * rows.count * (p.head_dim + 2);
  for (int64_t row = 0; row < rows.count; ++row) {
    for (int64_t h = 0; h < p.head_dim; ++h) *partial++ = w.out[row * padded_dim + place_of(reading, h)];
    *partial++ = w.largest[row];
    *partial++ = w.total[row];
  }
}

}  // namespace

int64_t attention_decode_scratch_floats(const AttentionDecodeParams& p) noexcept {
  Workspace unused;
  return lay_out(p, nullptr, unused);
}

void attention_decode(const AttentionDecodeParams& p, int64_t chunks, int64_t unit_begin, int64_t unit_end,
                      float* partials, float* scratch) noexcept {
  Workspace w;
  lay_out(p, scratch, w);
  for (int64_t unit = unit_begin; unit < unit_end; ++unit) attend_chunk(p, chunks, unit, partials, w);
}

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
