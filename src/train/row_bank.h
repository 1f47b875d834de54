#pragma once
// Keys and values that outlive their step, in every layer, and the gradients that reach them from later
// steps. Rows are only ever added; a step reads any of them by index.
// Letters: B batch, K KV heads, H head_dim.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/recorded_forward.h"

namespace beacon {

// The gradients of a leaf's rows `from` (undefined: all of them) go to the bank rows `to`, which may repeat:
// a sink row is also condensed.
struct GradientRows {
  at::Tensor to, from;  // i64
};

// Belongs to one sequence and one thread. Indexes are i64 tensors where the rows are: one upload serves all
// layers.
class RowBank {
 public:
  // `width` is K * H; type and device are those of the rows, gradients are f32. Allocates all rows at once,
  // the gradients of a layer with the first of them.
  RowBank(int64_t layers, int64_t batch, int64_t rows, int64_t width, const at::TensorOptions& options);

  // The rows `index` of a layer, copied: keys before RoPE and values, [B, index, width]. As leaves with
  // gradients when `leaves`.
  RecordedKv gather(int64_t layer, const at::Tensor& index, bool leaves) const;

  // Copies the rows `kept` of a step's keys and values [B, T, width] to bank rows begin, begin + 1, ...
  void put(int64_t layer, int64_t begin, const at::Tensor& kept, const RecordedKv& step);

  // Adds a leaf's gradients to its rows. An undefined gradient is zero.
  void add_gradients(int64_t layer, const GradientRows& rows, const RecordedKv& leaf);

  // The gradients of bank rows begin, begin + 1, ... spread over the rows `kept` of a step of `rows` rows:
  // f32 [B, rows, width], zero elsewhere. Undefined tensors when no row has any.
  RecordedKv gradients(int64_t layer, int64_t begin, const at::Tensor& kept, int64_t rows) const;

 private:
  struct Layer {
    RecordedKv values;     // [B, rows, width]
    RecordedKv gradients;  // f32; undefined until one arrives
  };
  std::vector<Layer> layers_;
};

}  // namespace beacon
