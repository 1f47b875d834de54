#include "ops/autograd/attention.h"

#include <limits>

#include "ops/attention_torch.h"
#include "ops/autograd/gradient_check.h"

namespace beacon::ops::autograd {
namespace {

struct Shape {
  int64_t batch = 1, rows = 1, keys = 1, heads = 4, kv_heads = 2, head_dim = 16;
};

// The definition, one head at a time. inputs: q, k, v and, when the options have one, the gate.
at::Tensor by_definition(const std::vector<at::Tensor>& inputs, const AttentionOptions& options) {
  const at::Tensor &q = inputs[0], &k = inputs[1], &v = inputs[2];
  const int64_t rows = q.size(1), keys = k.size(1), group = q.size(2) / k.size(2);
  const at::Tensor visible =
      options.mask.defined() ? options.mask.ne(0) : at::ones({rows, keys}, at::kBool).tril(keys - rows);
  const at::Tensor all_visible = visible.expand({q.size(0), rows, keys});
  std::vector<at::Tensor> batch;
  for (int64_t b = 0; b < q.size(0); ++b) {
    const at::Tensor own = all_visible[b], seeing = own.any(1, true);
    std::vector<at::Tensor> heads;
    for (int64_t n = 0; n < q.size(2); ++n) {
      at::Tensor scores = at::mm(q[b].select(1, n), k[b].select(1, n / group).t()) * options.scale;
      if (inputs.size() > 3) scores = scores + inputs[3][n] * options.gated_keys.ne(0).to(q.scalar_type());
      const at::Tensor weights = at::exp(scores) * own.to(q.scalar_type());
      const at::Tensor sums = weights.sum(1, true) + seeing.logical_not().to(q.scalar_type());
      heads.push_back(at::mm(weights / sums, v[b].select(1, n / group)));
    }
    batch.push_back(at::stack(heads, 1));
  }
  return at::stack(batch);
}

class AutogradAttentionTest : public AutogradTest {
 protected:
  // Scores are known to some roundings, and so are the weights; the sums have up to a few hundred terms.
  static constexpr double kRoundings = 24;

  void SetUp() override {
    AutogradTest::SetUp();
    least_size_ = 1;
  }

  void expect_right(const Shape& s, AttentionOptions options) {
    options.scale = 1.0 / std::sqrt(static_cast<double>(s.head_dim));
    std::vector<at::Tensor> inputs = {random({s.batch, s.rows, s.heads, s.head_dim}),
                                      random({s.batch, s.keys, s.kv_heads, s.head_dim}),
                                      random({s.batch, s.keys, s.kv_heads, s.head_dim})};
    if (options.gate.defined()) inputs.push_back(options.gate);
    const at::Tensor direction = random({s.batch, s.rows, s.heads, s.head_dim});
    const Formula ours = [&](const std::vector<at::Tensor>& leaves) {
      AttentionOptions with_leaf = options;
      if (leaves.size() > 3) with_leaf.gate = leaves[3];
      return attention(leaves[0], leaves[1], leaves[2], with_leaf, context());
    };
    const Formula exact = [&](const std::vector<at::Tensor>& leaves) {
      return by_definition(leaves, options);
    };
    expect_near(evaluate(ours, inputs, direction), evaluate_exactly(exact, inputs, direction), kRoundings);
  }
};
BEACON_FOR_EVERY_MODE(AutogradAttentionTest);

TEST_P(AutogradAttentionTest, CausalFromTheBottomRight) {
  for (const int64_t rows : {1, 2, 5, 70, 150}) {
    for (const int64_t before : {0, 1, 61}) {
      SCOPED_TRACE(::testing::Message() << rows << " rows after " << before);
      expect_right({.batch = 2, .rows = rows, .keys = before + rows}, {});
    }
  }
}

TEST_P(AutogradAttentionTest, HeadsShareKeys) {
  for (const int64_t kv_heads : {1, 3, 9}) {
    SCOPED_TRACE(kv_heads);
    expect_right({.rows = 80, .keys = 140, .heads = 9, .kv_heads = kv_heads, .head_dim = 64}, {});
  }
  expect_right({.rows = 30, .keys = 70, .heads = 2, .kv_heads = 1, .head_dim = 6}, {});
  expect_right({.rows = 30, .keys = 70, .heads = 2, .kv_heads = 2, .head_dim = 80}, {});
}

TEST_P(AutogradAttentionTest, ManyKeys) {
  expect_right({.rows = 65, .keys = 1200, .heads = 2, .kv_heads = 1, .head_dim = 32}, {});
}

TEST_P(AutogradAttentionTest, MaskDecidesAlone) {
  for (const int64_t rows : {1, 12, 70}) {
    SCOPED_TRACE(rows);
    AttentionOptions options;
    options.mask = at::randint(0, 2, {rows, rows + 15}, at::kByte);
    options.mask[rows - 1].zero_();  // a row that sees nothing
    expect_right({.batch = 2, .rows = rows, .keys = rows + 15}, options);
  }
  // Whole blocks visible or not, more than causal attention allows, and fewer keys than queries.
  AttentionOptions options;
  options.mask = at::zeros({200, 150}, at::kByte);
  options.mask.slice(0, 60, 170).slice(1, 0, 70).fill_(1);
  options.mask.slice(0, 100, 140).slice(1, 64, 150).fill_(1);
  expect_right({.rows = 200, .keys = 150}, options);
}

TEST_P(AutogradAttentionTest, MaskMayBeAView) {
  AttentionOptions options;
  options.mask = at::randint(0, 2, {9, 30}, at::kByte).narrow(0, 6, 3).narrow(1, 0, 17);
  options.mask.select(1, 0).fill_(1);
  expect_right({.rows = 3, .keys = 17}, options);
}

TEST_P(AutogradAttentionTest, TheGateGetsItsGradient) {
  for (const int64_t rows : {1, 5, 70}) {
    for (const bool masked : {false, true}) {
      SCOPED_TRACE(::testing::Message() << rows << " rows, mask " << masked);
      AttentionOptions options;
      options.gate = at::tensor({-2.0F, 0.0F, 1.5F, -0.5F});
      options.gated_keys = at::randint(0, 2, {rows + 65}, at::kByte);
      if (masked) options.mask = at::randint(0, 2, {rows, rows + 65}, at::kByte);
      expect_right({.batch = 2, .rows = rows, .keys = rows + 65}, options);
    }
  }
}

TEST_P(AutogradAttentionTest, StridedInputs) {
  // q, k and v as slices of one product, keys as a transposed memory.
  const at::Tensor all = random({2, 20, 8, 16});
  AttentionOptions options;
  options.scale = 0.25;
  const Formula ours = [&](const std::vector<at::Tensor>& leaves) {
    const at::Tensor& x = leaves[0];
    return attention(x.slice(2, 0, 4), x.slice(2, 4, 6), x.slice(2, 6, 8), options, context());
  };
  const Formula exact = [&](const std::vector<at::Tensor>& leaves) {
    const at::Tensor& x = leaves[0];
    return by_definition({x.slice(2, 0, 4), x.slice(2, 4, 6), x.slice(2, 6, 8)}, options);
  };
  const at::Tensor direction = random({2, 20, 4, 16});
  expect_near(evaluate(ours, {all}, direction), evaluate_exactly(exact, {all}, direction), kRoundings);

  const at::Tensor k = random({2, 2, 33, 16}), v = random({2, 2, 33, 16}), q = random({2, 20, 4, 16});
  const auto turned_to_rows = [](const at::Tensor& x) { return x.transpose(1, 2); };
  const Formula ours_turned = [&](const std::vector<at::Tensor>& leaves) {
    return attention(leaves[0], turned_to_rows(leaves[1]), turned_to_rows(leaves[2]), options, context());
  };
  const Formula exact_turned = [&](const std::vector<at::Tensor>& leaves) {
    return by_definition({leaves[0], turned_to_rows(leaves[1]), turned_to_rows(leaves[2])}, options);
  };
  expect_near(evaluate(ours_turned, {q, k, v}, direction),
              evaluate_exactly(exact_turned, {q, k, v}, direction), kRoundings);
}

TEST_P(AutogradAttentionTest, EachBatchRowUnderItsOwnMask) {
  AttentionOptions options;
  options.mask = at::rand({3, 20, 45}).gt(0.5).to(at::kByte);
  expect_right({.batch = 3, .rows = 20, .keys = 45}, options);
}

TEST_P(AutogradAttentionTest, OnlyWhatIsAskedForIsDifferentiated) {
  const at::Tensor q = random({1, 6, 4, 16}), k = random({1, 9, 2, 16});
  const at::Tensor v = random({1, 9, 2, 16}).requires_grad_();
  AttentionOptions options;
  const at::Tensor out = attention(q, k, v, options, context());
  out.sum().backward();
  EXPECT_FALSE(q.grad().defined());
  EXPECT_TRUE(v.grad().defined());
  const at::NoGradGuard no_grad;
  EXPECT_FALSE(attention(q, k, v, options, context()).requires_grad());
}

TEST_P(AutogradAttentionTest, WhatDoesNotFitIsRefused) {
  const at::Tensor q = random({1, 4, 4, 16}), k = random({1, 3, 2, 16});
  AttentionOptions options;
  expect_error(ErrorCode::kInternal, "k.size(1) >= q.size(1)",
               [&] { attention(q, k, k, options, context()); });
  options.mask = at::ones({4, 4}, at::kByte);
  expect_error(ErrorCode::kInternal, "options.mask.size(-1)",
               [&] { attention(q, k, k, options, context()); });
}

// Flash attention runs on a GPU only, but what it is called with can be tried anywhere: the gate must be in
// it.
TEST_P(AutogradAttentionTest, TheGateFitsIntoFlashAttention) {
  for (const int64_t head_dim : {16, 13}) {
    SCOPED_TRACE(head_dim);
    const int64_t rows = 12, keys = 40;
    AttentionOptions options;
    options.scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
    options.gated_keys = at::arange(keys).remainder(3).eq(0).to(at::kByte);
    const std::vector<at::Tensor> inputs = {random({2, rows, 6, head_dim}), random({2, keys, 3, head_dim}),
                                            random({2, keys, 3, head_dim}),
                                            at::tensor({-4.03F, 0.7F, 1.3F, -0.2F, 0.0F, 2.6F})};
    const Formula padded = [&](const std::vector<at::Tensor>& leaves) {
      AttentionOptions gated = options, plain;
      gated.gate = leaves[3];
      plain.scale = options.scale;
      const FlashArguments in =
          flash_arguments(leaves[0].to(compute()), leaves[1].to(compute()), leaves[2].to(compute()), gated);
      EXPECT_EQ(in.q.size(3) % 8, 0);
      // Both numbers together are the gate, far more exactly than one of bf16 could be.
      const at::Tensor held = in.q.narrow(-1, head_dim, 2).to(at::kDouble).sum(-1)[0].select(-1, 0);
      expect_close(held * options.scale, leaves[3].to(at::kDouble).detach(), 1e-4);
      EXPECT_EQ(in.v.sizes(), in.k.sizes());
      return attention(in.q.transpose(1, 2), in.k.transpose(1, 2), in.v.transpose(1, 2), plain, context())
          .narrow(-1, 0, head_dim);
    };
    const Formula exact = [&](const std::vector<at::Tensor>& leaves) {
      return by_definition(leaves, options);
    };
    const at::Tensor direction = random({2, rows, 6, head_dim});
    expect_near(evaluate(padded, inputs, direction), evaluate_exactly(exact, inputs, direction), kRoundings);
  }
}

// So does the masked kernel: the mask must be in the bias, and each head must meet its own keys.
TEST_P(AutogradAttentionTest, TheMaskFitsIntoTheMaskedKernel) {
  for (const auto& [kv_heads, of_each] : {std::pair{1, false}, {3, false}, {6, false}, {3, true}}) {
    SCOPED_TRACE(::testing::Message() << kv_heads << " KV heads, a mask of each: " << of_each);
    const int64_t rows = 11, keys = 37;
    AttentionOptions options;
    options.scale = 0.25;
    options.mask = at::rand({rows, keys}).gt(0.4).to(at::kByte);
    if (of_each) options.mask = at::rand({2, rows, keys}).gt(0.4).to(at::kByte);
    options.mask.select(-1, 5).fill_(1);
    const std::vector<at::Tensor> inputs = {random({2, rows, 6, 16}), random({2, keys, kv_heads, 16}),
                                            random({2, keys, kv_heads, 16})};
    const Formula grouped = [&](const std::vector<at::Tensor>& leaves) {
      const MaskedArguments in = masked_arguments(leaves[0].to(compute()), leaves[1].to(compute()),
                                                  leaves[2].to(compute()), options);
      EXPECT_EQ(in.bias.stride(2) % 16, 0);
      const at::Tensor scores =
          at::matmul(in.q, in.k.transpose(2, 3)).to(at::kFloat) * options.scale + in.bias;
      return in_heads(at::matmul(at::softmax(scores, -1).to(compute()), in.v), 2);
    };
    const Formula exact = [&](const std::vector<at::Tensor>& leaves) {
      return by_definition(leaves, options);
    };
    const at::Tensor direction = random({2, rows, 6, 16});
    expect_near(evaluate(grouped, inputs, direction), evaluate_exactly(exact, inputs, direction), kRoundings);
  }
}

// Keys in two sets, each attended by itself as a GPU's kernels do, are those of one.
TEST_P(AutogradAttentionTest, TwoSetsOfKeysArePutTogether) {
  const int64_t rows = 9, keys = 50;
  const at::Tensor q = random({2, rows, 6, 16}), k = random({2, keys, 6, 16}), v = random({2, keys, 6, 16});
  const auto over = [&](int64_t first, int64_t count) {
    const at::Tensor scores = at::einsum("btnh,bsnh->bnts", {q, k.narrow(1, first, count)}) * 2.0;
    const at::Tensor out =
        at::einsum("bnts,bsnh->btnh", {at::softmax(scores, -1), v.narrow(1, first, count)});
    return Attended{out.to(compute()), at::logsumexp(scores, -1)};
  };
  const double size = v.abs().max().item<double>();
  for (const int64_t first : {1, 20, 49}) {
    SCOPED_TRACE(first);
    const double eps = compute() == at::kFloat ? kEpsF32 : kEpsBf16;
    expect_close(put_together(over(0, first), over(first, keys - first)), over(0, keys).out, 8 * eps * size);
  }
}

TEST_P(AutogradAttentionTest, PiecesOfRowsEqualTheWhole) {
  const int64_t rows = 11, keys = 40;
  const at::Tensor q = random({2, rows, 6, 16}).to(compute()), k = random({2, keys, 3, 16}).to(compute()),
                   v = random({2, keys, 3, 16}).to(compute());
  for (const bool masked : {false, true}) {
    for (const bool gated : {false, true}) {
      AttentionOptions options;
      options.scale = 0.25;
      if (masked) options.mask = at::rand({rows, keys}).gt(0.3).to(at::kByte);
      if (gated) {
        options.gate = at::linspace(-4, 2, 6);
        options.gated_keys = at::arange(keys).remainder(3).eq(0).to(at::kByte);
      }
      const at::Tensor whole = attention_plain(q, k, v, options);
      // One row at a time, some with a rest, and all at once.
      for (const int64_t scores : {int64_t{1}, 4 * 2 * 6 * keys, rows * 2 * 6 * keys}) {
        SCOPED_TRACE(::testing::Message() << scores << " scores, mask " << masked << ", gate " << gated);
        expect_near(attention_in_pieces(q, k, v, options, scores), whole, 4);
      }
    }
  }
}

}  // namespace
}  // namespace beacon::ops::autograd
