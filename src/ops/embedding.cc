#include "ops/embedding.h"

#include <ATen/Functions.h>

#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/convert.h"
#include "ops/device.h"
#include "ops/linear_on_device.h"

namespace beacon::ops {
namespace {

void check_id(int64_t id, const Weight& table) {
  require(id >= 0 && id < table.out, ErrorCode::kInvalidArgument,
          "token id {} is outside the vocabulary of {} tokens", id, table.out);
}

// The id of the row that row r begins with.
int32_t source_id(std::span<const int32_t> ids, size_t r, const Weight& table, bool echoes) {
  if (!echoes || ids[r] != table.out) return ids[r];
  BEACON_CHECK(r > 0 && ids[r - 1] != table.out);
  return ids[r - 1];
}

void embed_on_device(std::span<const int32_t> ids, const Weight& table, const at::Tensor& extra,
                     const at::Tensor& y, bool echoes) {
  std::vector<int64_t> rows, extra_rows;
  for (size_t r = 0; r < ids.size(); ++r) {
    const bool is_extra = ids[r] == table.out && extra.defined();
    if (is_extra) extra_rows.push_back(static_cast<int64_t>(r));
    const int32_t id = source_id(ids, r, table, echoes);
    const bool in_table = !is_extra || echoes;
    if (in_table) check_id(id, table);
    rows.push_back(in_table ? id : 0);
  }
  at::Tensor out = y;
  out.copy_(resident_rows(table, y.device(), at::kFloat, index_on(y.device(), rows)));
  if (extra_rows.empty()) return;
  const auto count = static_cast<int64_t>(extra_rows.size());
  const at::Tensor index = index_on(y.device(), extra_rows);
  if (echoes) {
    out.index_add_(0, index, extra.expand({count, -1}));
  } else {
    out.index_copy_(0, index, extra.expand({count, -1}));
  }
}

}  // namespace

void embed(std::span<const int32_t> ids, const Weight& table, const at::Tensor& extra, const at::Tensor& y,
           bool echoes) {
  BEACON_CHECK(y.is_contiguous() && y.size(0) == static_cast<int64_t>(ids.size()) && y.size(1) == table.in);
  if (!y.is_cpu()) return embed_on_device(ids, table, extra, y, echoes);
  const int64_t row_bytes = table.row_bytes();
  float* out = y.data_ptr<float>();
  for (size_t r = 0; r < ids.size(); ++r) {
    float* row = out + static_cast<int64_t>(r) * table.in;
    const bool is_extra = ids[r] == table.out && extra.defined();
    if (is_extra && !echoes) {
      std::memcpy(row, extra.const_data_ptr<float>(), static_cast<size_t>(table.in) * sizeof(float));
      continue;
    }
    const int64_t id = source_id(ids, r, table, echoes);
    check_id(id, table);
    kernels::dequantize_row(table.dtype, table.data + id * row_bytes, row, table.in);
    if (!is_extra) continue;
    const float* own = extra.const_data_ptr<float>();
    for (int64_t i = 0; i < table.in; ++i) row[i] += own[i];
  }
}

}  // namespace beacon::ops
