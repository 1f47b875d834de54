#include "ops/embedding.h"

#include <cstring>

#include "base/check.h"
#include "kernels/convert.h"

namespace beacon::ops {

void embed(std::span<const int32_t> ids, const Weight& table, const at::Tensor& extra, const at::Tensor& y) {
  BEACON_CHECK(y.is_contiguous() && y.size(0) == static_cast<int64_t>(ids.size()) && y.size(1) == table.in);
  const int64_t row_bytes = table.row_bytes();
  float* out = y.data_ptr<float>();
  for (size_t r = 0; r < ids.size(); ++r) {
    const int64_t id = ids[r];
    float* row = out + static_cast<int64_t>(r) * table.in;
    if (id == table.out && extra.defined()) {
      std::memcpy(row, extra.const_data_ptr<float>(), static_cast<size_t>(table.in) * sizeof(float));
      continue;
    }
    require(id >= 0 && id < table.out, ErrorCode::kInvalidArgument,
            "token id {} is outside the vocabulary of {} tokens", id, table.out);
    kernels::dequantize_row(table.dtype, table.data + id * row_bytes, row, table.in);
  }
}

}  // namespace beacon::ops
