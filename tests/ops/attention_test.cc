#include "ops/attention.h"

#include "kernels/isa.h"
#include "ops/key_rows.h"
#include "ops/tensor_check.h"

namespace beacon::ops {
namespace {

using namespace beacon::testing;

struct Shape {
  int64_t batch = 1, rows = 1, keys = 1, heads = 4, kv_heads = 2, head_dim = 16;
};

struct Problem {
  at::Tensor q, k, v;
  AttentionOptions options;
};

// Keys and values are the first `keys` rows of a memory of larger capacity, as KvMemory hands them out.
Problem make_problem(const Shape& s, at::ScalarType type = at::kFloat) {
  Problem p;
  const std::vector<int64_t> memory = {s.batch, s.kv_heads, s.keys + 11, s.head_dim};
  p.q = at::randn({s.batch, s.rows, s.heads * s.head_dim});
  p.k = at::randn(memory).to(type).narrow(2, 0, s.keys);
  p.v = at::randn(memory).to(type).narrow(2, 0, s.keys);
  p.options.scale = 1.0 / std::sqrt(static_cast<double>(s.head_dim));
  return p;
}

// Every sum written out.
at::Tensor by_hand(const Problem& p) {
  const int64_t batch = p.q.size(0), rows = p.q.size(1), keys = p.k.size(2), dim = p.k.size(3);
  const int64_t heads = p.q.size(2) / dim, group = heads / p.k.size(1);
  const at::Tensor q_all = p.q.to(at::kDouble), k_all = p.k.to(at::kDouble), v_all = p.v.to(at::kDouble);
  at::Tensor out_all = at::zeros({batch, rows, heads * dim}, at::kDouble);
  const auto q = q_all.accessor<double, 3>();
  const auto k = k_all.accessor<double, 4>(), v = v_all.accessor<double, 4>();
  auto out = out_all.accessor<double, 3>();
  const auto visible = [&](int64_t t, int64_t s) {
    if (!p.options.mask.defined()) return s <= keys - rows + t;
    return p.options.mask.accessor<uint8_t, 2>()[t][s] != 0;
  };
  const auto gate = [&](int64_t n, int64_t s) {
    if (!p.options.gate.defined() || p.options.gated_keys.accessor<uint8_t, 1>()[s] == 0) return 0.0;
    return static_cast<double>(p.options.gate.accessor<float, 1>()[n]);
  };
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t n = 0; n < heads; ++n) {
      for (int64_t t = 0; t < rows; ++t) {
        double total = 0;
        std::vector<double> sum(static_cast<size_t>(dim));
        for (int64_t s = 0; s < keys; ++s) {
          if (!visible(t, s)) continue;
          double product = 0;
          for (int64_t h = 0; h < dim; ++h) product += q[b][t][n * dim + h] * k[b][n / group][s][h];
          const double weight = std::exp(product * p.options.scale + gate(n, s));
          total += weight;
          for (int64_t h = 0; h < dim; ++h) sum[static_cast<size_t>(h)] += weight * v[b][n / group][s][h];
        }
        for (int64_t h = 0; h < dim && total > 0; ++h)
          out[b][t][n * dim + h] = sum[static_cast<size_t>(h)] / total;
      }
    }
  }
  return out_all;
}

class AttentionTest : public TensorTest {
 protected:
  // Scores of size up to 8 are known to about 1e-6, weights then as well, and values are of size 1.
  static constexpr double kTolerance = 1e-5;

  at::Tensor run(const Problem& p) {
    at::Tensor out = at::full_like(p.q, NAN);
    attention(p.q, p.k, p.v, p.options, out, context_);
    return out;
  }
  void expect_right(const Problem& p) {
    const at::Tensor expected = by_hand(p);
    expect_close(run(p), expected, kTolerance);
    expect_close(attention_reference(p.q, p.k, p.v, p.options), expected, kTolerance);
  }

  AttentionContext context_;
};

TEST_F(AttentionTest, CausalFromTheBottomRight) {
  for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9}) {
    for (const int64_t before : {0, 1, 20}) {
      SCOPED_TRACE(::testing::Message() << rows << " rows after " << before);
      expect_right(make_problem({.batch = 2, .rows = rows, .keys = before + rows}));
    }
  }
}

// Of few rows they stay floats.
TEST_F(AttentionTest, ManyRowsInIntegers) {
  const Problem many = make_problem({.batch = 2, .rows = 70, .keys = 113});
  const Problem few = make_problem({.batch = 1, .rows = 8, .keys = 113});
  const at::Tensor many_in_floats = run(many), few_in_floats = run(few);
  context_.integers = true;
  const at::Tensor out = run(many);
  // Rounded to 13 bits: kernels/attention.h.
  expect_close(out, by_hand(many), 2e-3);
  EXPECT_EQ(out.equal(many_in_floats), !std::string_view(kernels::active_isa_name()).starts_with("avx"));
  EXPECT_TRUE(run(few).equal(few_in_floats));
}

TEST_F(AttentionTest, ManyRows) {
  expect_right(make_problem({.batch = 2, .rows = 70, .keys = 70}));
  expect_right(make_problem({.batch = 1, .rows = 70, .keys = 113}));
}

// The keys are cut into chunks when they are many and queries few.
TEST_F(AttentionTest, OneRowOverManyKeys) {
  expect_right(make_problem({.batch = 1, .rows = 1, .keys = 1500}));
}

TEST_F(AttentionTest, HeadsShareKeys) {
  for (const int64_t kv_heads : {1, 3, 9}) {
    for (const int64_t rows : {1, 12}) {
      SCOPED_TRACE(::testing::Message() << kv_heads << " kv heads, rows " << rows);
      expect_right(
          make_problem({.rows = rows, .keys = 20, .heads = 9, .kv_heads = kv_heads, .head_dim = 64}));
    }
  }
  expect_right(make_problem(
      {.rows = 3, .keys = 20, .heads = 2, .kv_heads = 1, .head_dim = 6}));  // not a multiple of 8
}

TEST_F(AttentionTest, MaskDecidesAlone) {
  for (const int64_t rows : {1, 5, 12, 70}) {
    SCOPED_TRACE(rows);
    Problem p = make_problem({.batch = 2, .rows = rows, .keys = rows + 15});
    p.options.mask = at::randint(0, 2, {rows, rows + 15}, at::kByte);
    p.options.mask[rows - 1].zero_();  // a row that sees nothing gets zeros
    expect_right(p);
    EXPECT_EQ(run(p).select(1, rows - 1).abs().max().item<float>(), 0.0F);
  }
  // A query may be masked to see more than causal attention allows, and there may be fewer keys than queries.
  Problem p = make_problem({.rows = 4, .keys = 3});
  p.options.mask = at::ones({4, 3}, at::kByte);
  expect_right(p);
}

// The last rows of a larger mask: rows are further apart than they are long only in the first case.
TEST_F(AttentionTest, MaskMayBeAView) {
  Problem p = make_problem({.rows = 3, .keys = 17});
  const at::Tensor wide = at::randint(0, 2, {9, 30}, at::kByte);
  wide.select(1, 0).fill_(1);
  p.options.mask = wide.narrow(0, 6, 3).narrow(1, 0, 17);
  expect_right(p);
}

TEST_F(AttentionTest, GateBiasesFlaggedKeysOnly) {
  for (const int64_t rows : {1, 5, 12, 70}) {
    for (const bool masked : {false, true}) {
      SCOPED_TRACE(::testing::Message() << rows << " rows, mask " << masked);
      Problem p = make_problem({.batch = 2, .rows = rows, .keys = rows + 15});
      p.options.gate = at::tensor({-4.0F, 0.0F, 2.5F, -0.5F});
      p.options.gated_keys = at::randint(0, 2, {rows + 15}, at::kByte);
      if (masked) p.options.mask = at::randint(0, 2, {rows, rows + 15}, at::kByte);
      expect_right(p);
    }
  }
}

TEST_F(AttentionTest, Bf16KeysAndValuesAreWidenedExactly) {
  for (const int64_t rows : {1, 9, 70}) {
    SCOPED_TRACE(rows);
    expect_right(make_problem({.batch = 2, .rows = rows, .keys = rows + 15, .head_dim = 64}, at::kBFloat16));
  }
}

// A context serves problems of any size one after the other.
// Calls of few and of many queries, of several types and lengths, each as if it were alone.
TEST_F(AttentionTest, AGroupIsItsCalls) {
  std::vector<Problem> problems;
  problems.push_back(make_problem({.rows = 1, .keys = 700}));
  problems.push_back(make_problem({.batch = 2, .rows = 3, .keys = 9}));
  problems.push_back(make_problem({.rows = 40, .keys = 90}));
  problems.push_back(make_problem({.rows = 2, .keys = 300, .heads = 6}, at::kBFloat16));
  problems.push_back(make_problem({.rows = 1, .keys = 1, .head_dim = 32}));
  problems[1].options.mask = at::ones({3, 9}, at::kByte).tril(2);
  problems[3].options.gate = at::randn({6});
  problems[3].options.gated_keys = at::rand({300}).lt(0.5).to(at::kByte);
  std::vector<AttentionCall> calls;
  for (const Problem& p : problems) calls.push_back({p.q, p.k, p.v, p.options, at::empty_like(p.q)});
  AttentionContext together;
  attention_group(calls, together);
  for (size_t i = 0; i < problems.size(); ++i) {
    SCOPED_TRACE(i);
    const Problem& p = problems[i];
    AttentionContext alone;
    const at::Tensor expected = at::empty_like(p.q);
    attention(p.q, p.k, p.v, p.options, expected, alone);
    expect_equal(calls[i].out, expected);
  }
  attention_group({}, together);
}

// Keys and values in blocks of bytes, as a memory holds them: against the reference on what they stand for.
TEST_F(AttentionTest, BlocksOfBytes) {
  for (const int64_t rows : {1, 5, 70}) {
    Problem p = make_problem({.batch = 2, .rows = rows, .keys = 130, .heads = 6, .head_dim = 64});
    const auto blocks = [](const at::Tensor& x) {
      const at::Tensor memory =
          at::empty({x.size(0), x.size(1), x.size(2) + 7, row_width(kBlockRows, x.size(3))}, kBlockRows);
      const at::Tensor held = memory.narrow(2, 0, x.size(2));
      store_rows(x, held);
      return held;
    };
    const at::Tensor k = blocks(p.k), v = blocks(p.v);
    EXPECT_LT((float_rows(k) - p.k).abs().max().item<double>(), 0.03);
    p.k = float_rows(k);
    p.v = float_rows(v);
    const at::Tensor out = at::empty_like(p.q);
    AttentionContext context;
    attention(p.q, k, v, p.options, out, context);
    expect_close(out, by_hand(p), 1e-5);
    expect_close(attention_reference(p.q, k, v, p.options), by_hand(p), 1e-5);
  }
}

TEST_F(AttentionTest, ContextGrows) {
  for (const int64_t keys : {3, 900, 30}) expect_right(make_problem({.rows = 2, .keys = keys}));
}

TEST_F(AttentionTest, WhatDoesNotFitIsRefused) {
  Problem p = make_problem({.rows = 4, .keys = 3});
  expect_error(ErrorCode::kInternal, "k.size(2) >= q.size(1)", [&] { run(p); });
  p.options.mask = at::ones({4, 4}, at::kByte);
  expect_error(ErrorCode::kInternal, "mask.size(1)", [&] { run(p); });
  p.options.mask = at::Tensor();
  p = make_problem({.rows = 1, .keys = 3});
  p.options.gate = at::zeros({4});
  expect_error(ErrorCode::kInternal, "gated_keys", [&] { run(p); });
}

// Weights and results are rounded to bf16 (2^-9 each, of either sign).
TEST_F(AttentionTest, Bf16Throughout) {
  for (const int64_t rows : {1, 9, 80}) {
    Problem p = make_problem({.batch = 2, .rows = rows, .keys = rows + 90, .head_dim = 64}, at::kBFloat16);
    p.options.gate = at::randn({4});
    p.options.gated_keys = at::arange(rows + 90).remainder(3).eq(0).to(at::kByte);
    p.q = p.q.to(at::kBFloat16);
    const at::Tensor expected = by_hand(p);
    expect_close(run(p), expected, 3 * kEpsBf16 * expected.abs().max().item<double>());
  }
}

}  // namespace
}  // namespace beacon::ops
