// Attention of many queries: blocks of keys are packed once for all query rows of a unit.
#include "kernels/cpu/attention_mask.h"
#include "kernels/cpu/functions.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// Scratch of one unit, all f32.
struct Workspace {
  float* q;        // [tiles, H, kTileRows] scaled queries, transposed
  float* out;      // [tiles * kTileRows, padded H]
  float* largest;  // [tiles * kTileRows] largest score so far
  float* total;    // [tiles * kTileRows] sum of weights so far
  float* keys;     // [kKeyBlock / kTileCols, H, kTileCols]
  float* values;   // [kKeyBlock, padded H], only when they cannot be read in place
  float* scores;   // [kTileRows, kKeyBlock]
};

int64_t max_rows(const AttentionParams& p) {
  return round_up(least(p.num_queries, kAttentionQueryBlock) * (p.num_heads / p.num_kv_heads), kTileRows);
}

// Lays the parts out behind one another; returns the number of floats.
int64_t lay_out(const AttentionParams& p, float* scratch, Workspace& w) {
  const int64_t rows = max_rows(p);
  const int64_t padded_dim = round_up(p.head_dim, kLanes);
  // Whole cache lines: a vector across two of them is read at half the speed.
  const int64_t misaligned = static_cast<int64_t>(reinterpret_cast<uintptr_t>(scratch) / 4 % 16);
  int64_t used = scratch == nullptr ? 16 : (16 - misaligned) % 16;
  const auto take = [&](int64_t floats) {
    float* part = scratch == nullptr ? nullptr : scratch + used;
    used += round_up(floats, 16);
    return part;
  };
  w.q = take(rows * p.head_dim);
  w.out = take(rows * padded_dim);
  w.largest = take(rows);
  w.total = take(rows);
  w.keys = take(p.head_dim * kKeyBlock);
  w.values = take(needs_copy(p) ? padded_dim * kKeyBlock : 0);
  w.scores = take(kTileRows * kKeyBlock);
  return used;
}

void start_rows(const AttentionParams& p, const QueryRows& rows, Workspace& w) {
  const int64_t padded_rows = round_up(rows.count, kTileRows);
  for (int64_t row = 0; row < padded_rows; ++row) {
    float* packed = w.q + row / kTileRows * kTileRows * p.head_dim + row % kTileRows;
    const float* q = row < rows.count
                         ? p.q + rows.query(row) * p.q_row_stride + rows.head(row) * p.q_head_stride
                         : nullptr;
    for (int64_t h = 0; h < p.head_dim; ++h) packed[h * kTileRows] = q == nullptr ? 0.0F : q[h] * p.scale;
    w.largest[row] = kMinusInfinity;
    w.total[row] = 0;
  }
  const int64_t padded_dim = round_up(p.head_dim, kLanes);
  for (int64_t i = 0; i < padded_rows * padded_dim; ++i) w.out[i] = 0;
}

void finish_rows(const AttentionParams& p, const QueryRows& rows, const Workspace& w) {
  const int64_t padded_dim = round_up(p.head_dim, kLanes);
  for (int64_t row = 0; row < rows.count; ++row) {
    const float inverse = w.total[row] == 0.0F ? 0.0F : 1.0F / w.total[row];
    float* out = p.out + rows.query(row) * p.out_row_stride + rows.head(row) * p.out_head_stride;
    const float* sums = w.out + row * padded_dim;
    for (int64_t h = 0; h < p.head_dim; ++h) out[h] = sums[h] * inverse;
  }
}

// All query rows over one block of keys. Packing waits until a tile needs the block.
void attend_block(const AttentionParams& p, const QueryRows& rows, const KeyBlock& block,
                  const HeadRows& keys, const HeadRows& values, const Workspace& w) {
  const int64_t padded_dim = round_up(p.head_dim, kLanes);
  const bool copy = needs_copy(p);
  const float* v = copy ? w.values : values.floats(block.begin);
  const int64_t v_stride = copy ? padded_dim : values.row_stride;
  bool packed = false;
  float keep[kTileRows];
  for (int64_t row = 0; row < rows.count; row += kTileRows) {
    const int64_t tile_rows = least(kTileRows, rows.count - row);
    const int64_t n = needed_keys(p, rows, row, tile_rows, block);
    if (n == 0) continue;
    if (!packed) {
      pack_keys(keys, block.begin, block.n, p.head_dim, w.keys);
      if (copy) copy_rows(values, block.begin, block.n, p.head_dim, w.values);
      packed = true;
    }
    for (int64_t col = 0; col < n; col += kTileCols)
      score_tile(w.q + row * p.head_dim, w.keys + col * p.head_dim, p.head_dim, w.scores + col);
    mask_tile(p, rows, row, tile_rows, block, n, w.scores);
    // Rows beyond tile_rows hold zero queries; they are carried along and never written out.
    if (n % kLanes != 0) {
      for (int64_t r = tile_rows; r < kTileRows; ++r)
        keep_first(w.scores + r * kKeyBlock, n, round_up(n, kLanes));
    }
    soften_tile(w.scores, kTileRows, n, w.largest + row, w.total + row, keep);
    add_values<kTileRows>(w.scores, v, v_stride, n, keep, w.out + row * padded_dim, padded_dim);
  }
}

void attend_unit(const AttentionParams& p, int64_t unit, const Workspace& workspace) {
  Workspace w = workspace;
  const int64_t blocks = (p.num_queries + kAttentionQueryBlock - 1) / kAttentionQueryBlock;
  const int64_t kv_head = unit / blocks;
  const int64_t group = p.num_heads / p.num_kv_heads;
  const int64_t t_begin = unit % blocks * kAttentionQueryBlock;
  const int64_t t_end = least(p.num_queries, t_begin + kAttentionQueryBlock);
  const QueryRows rows = {t_begin, (t_end - t_begin) * group, group, kv_head * group};
  const HeadRows keys = key_rows(p, kv_head);
  const HeadRows values = value_rows(p, kv_head);
  const int64_t key_end = p.mask != nullptr ? p.num_keys : most(0, p.num_keys - p.num_queries + t_end);
  start_rows(p, rows, w);
  for (int64_t s = 0; s < key_end; s += kKeyBlock)
    attend_block(p, rows, make_key_block(p, s, key_end), keys, values, w);
  finish_rows(p, rows, w);
}

}  // namespace

int64_t attention_scratch_floats(const AttentionParams& p) noexcept {
  Workspace unused;
  return lay_out(p, nullptr, unused);
}

void attention_prefill(const AttentionParams& p, int64_t unit_begin, int64_t unit_end,
                       float* scratch) noexcept {
  Workspace w;
  lay_out(p, scratch, w);
  for (int64_t unit = unit_begin; unit < unit_end; ++unit) attend_unit(p, unit, w);
}

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
