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

void embed_on_device(std::span<const int32_t> ids, const Weight& table, const at::Tensor& extra,
                     const at::Tensor& y) {
  std::vector<int64_t> rows, extra_rows;
  for (size_t r = 0; r < ids.size(); ++r) {
    const bool is_extra = ids[r] == table.out && extra.defined();
    if (is_extra) extra_rows.push_back(static_cast<int64_t>(r));
    if (!is_extra) check_id(ids[r], table);
    rows.push_back(is_extra ? 0 : ids[r]);
  }
  at::Tensor out = y;
  out.copy_(resident_rows(table, y.device(), at::kFloat, index_on(y.device(), rows)));
  if (extra_rows.empty()) return;
  const auto count = static_cast<int64_t>(extra_rows.size());
  out.index_copy_(0, index_on(y.device(), extra_rows), extra.expand({count, -1}));
}

}  // namespace

void embed(std::span<const int32_t> ids, const Weight& table, const at::Tensor& extra, const at::Tensor& y) {
  BEACON_CHECK(y.is_contiguous() && y.size(0) == static_cast<int64_t>(ids.size()) && y.size(1) == table.in);
  if (!y.is_cpu()) return embed_on_device(ids, table, extra, y);
  const int64_t row_bytes = table.row_bytes();
  float* out = y.data_ptr<float>();
  for (size_t r = 0; r < ids.size(); ++r) {
    float* row = out + static_cast<int64_t>(r) * table.in;
    if (ids[r] == table.out && extra.defined()) {
      std::memcpy(row, extra.const_data_ptr<float>(), static_cast<size_t>(table.in) * sizeof(float));
      continue;
    }
    check_id(ids[r], table);
    kernels::dequantize_row(table.dtype, table.data + ids[r] * row_bytes, row, table.in);
  }
}

void add_to_rows(const at::Tensor& y, std::span<const int32_t> rows, const at::Tensor& row) {
  if (rows.empty()) return;
  at::Tensor out = y;
  const at::Tensor index = index_on(y.device(), std::vector<int64_t>(rows.begin(), rows.end()));
  out.index_add_(0, index, row.expand({index.numel(), -1}));
}

}  // namespace beacon::ops
