#pragma once
// Keys and values of one conversation, in every layer: [sink | beacons | open window].
//
// Invariants. Rows lie in that order in each layer's k and v; a key's position is its row's index, except for
// rows of the open window that a plan placed elsewhere (step expansion, echoes), which get their index when
// they leave it. Keys are kept after RoPE; rows of the open window also keep them before RoPE (k_pre), so
// that a close rotates from the source and no error builds up. When the rotation follows the length (dynamic
// NTK) k itself is before RoPE and there is no k_pre. rewind may drop any rows that were added after the
// mark.
//
// Letters: B batch, K KV heads, H head_dim, X = geometry.row_width(), which is H unless rows are blocks.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "ops/rope.h"

namespace beacon {

// Fixed for the life of a memory.
struct KvGeometry {
  int64_t batch = 1;
  int64_t num_layers = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  at::ScalarType type = at::kFloat;  // of k and v: kFloat, kBFloat16 or ops::kBlockRows (8-bit blocks)
  bool keys_rotated = true;          // false when the rotation follows the length
  bool windows_close = true;         // false: plain model, no k_pre needed
  at::Device device = at::kCPU;      // of all tensors

  bool operator==(const KvGeometry&) const = default;
  // Numbers of type in a row of one head.
  int64_t row_width() const;
  // Options of a tensor there.
  at::TensorOptions options(at::ScalarType of) const { return at::TensorOptions(device).dtype(of); }
  // Of k and v of one row in all layers.
  int64_t row_bytes() const;
};

struct KvCounts {
  int64_t sink = 0;
  int64_t beacons = 0;
  int64_t open = 0;
  int64_t total() const { return sink + beacons + open; }
  bool operator==(const KvCounts&) const = default;
};

// What a close moves: row indexes into the open window (cached rows, then the rows of the step).
struct KvClose {
  std::span<const int32_t> sink;
  std::span<const int32_t> beacons;
  std::span<const int32_t> keep;
  std::span<const int32_t> keep_positions;  // [keep] of the new open window; empty: their index
};

class KvMemory {
 public:
  // One layer. Only the first counts().total() (k, v) or counts().open (k_pre) rows of the capacity are
  // meaningful.
  struct Layer {
    at::Tensor k;      // [B, K, capacity, X]
    at::Tensor v;      // [B, K, capacity, X]
    at::Tensor k_pre;  // f32 [B, K, open capacity, H], or undefined
  };

  explicit KvMemory(const KvGeometry& geometry);
  KvMemory(KvMemory&&) = default;
  KvMemory& operator=(KvMemory&&) = default;

  const KvGeometry& geometry() const { return geometry_; }
  const KvCounts& counts() const { return counts_; }
  // The most positions any forward has reached; decides the base of dynamic NTK.
  int64_t longest() const { return longest_; }
  void set_longest(int64_t positions) { longest_ = std::max(longest_, positions); }

  // Makes room for `rows` rows in all, memory and new ones, and no more: for a text whose length is known,
  // which otherwise grows the memory by and by, copying it each time and leaving room unused.
  void expect(int64_t rows);

  // A step of `rows` new rows: reserve(), then write() and attend in each layer in any order, then finish()
  // or, when the step fills a window, finish() and close().
  void reserve(int64_t rows);
  // Writes the new rows of a layer behind the open window. k_pre (before RoPE) and v: f32 [B * T, K * H]
  // contiguous; the table has T rows and is not used when keys are kept unrotated.
  void write(int64_t layer, const at::Tensor& k_pre, const at::Tensor& v, const ops::RopeTable& table);
  // Keys and values of a layer, the T rows just written included: views [B, K, total + T, X].
  at::Tensor keys(int64_t layer, int64_t new_rows) const;
  at::Tensor values(int64_t layer, int64_t new_rows) const;
  void finish(int64_t rows);

  // Re-orders the open window: sink rows behind the sink, beacons behind the beacons, keep rows as the new
  // open window; all of them are rotated to the position of their new index, or as keep_positions says. Sink
  // rows come only while there are no beacons.
  void close(const KvClose& close, const ops::Rope& rope);

  // Drops the open window and all beacons and sink rows beyond the counts, then puts `open` rows back. For
  // rewind.
  struct OpenWindow {
    std::vector<Layer> layers;  // exactly the open rows, own storage
    KvCounts counts;
    int64_t longest = 0;
  };
  OpenWindow copy_open() const;
  void rewind(const OpenWindow& mark);

  KvMemory clone() const;
  void reset();

  // f32 [B, K, open, H], a view: the open window's keys before rotation; empty when they are not kept.
  at::Tensor keys_before_rope(int64_t layer) const;

  // Exactly the meaningful rows, contiguous. k, v [B, K, total, X], k_pre [B, K, open, H].
  Layer rows(int64_t layer) const;
  // The inverse: copies rows for all layers, and calls `copied` after each. Shapes are checked (kInternal
  // otherwise).
  static KvMemory from_rows(const KvGeometry& geometry, const KvCounts& counts, std::span<const Layer> layers,
                            int64_t longest, const std::function<void(int64_t layer)>& copied = {});

  // Bytes in use (not reserved): k and v of all rows, k_pre of the open window.
  int64_t bytes(int64_t rows, int64_t open_rows) const;

 private:
  void grow(int64_t capacity, int64_t open_capacity);
  at::Tensor used_rows(const at::Tensor& held, int64_t new_rows) const;

  KvGeometry geometry_;
  KvCounts counts_;
  int64_t capacity_ = 0;
  int64_t open_capacity_ = 0;
  int64_t longest_ = 0;
  std::vector<Layer> layers_;
};

}  // namespace beacon
