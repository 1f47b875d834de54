#pragma once
// Random attention problems with padded strides, and the tolerance of their results.
#include <algorithm>

#include "kernel_test.h"
#include "kernels/attention_decode.h"
#include "kernels/reference/reference.h"

namespace beacon::kernels {

struct AttentionCase {
  int64_t queries = 1;
  int64_t keys = 1;
  int64_t heads = 1;
  int64_t kv_heads = 1;
  int64_t head_dim = 64;
  DType kv_type = DType::kF32;
  enum Mask { kCausal, kRandom, kBlocks } mask = kCausal;
  enum Bias { kNone, kRange, kFlags } bias = kNone;
};

inline std::ostream& operator<<(std::ostream& out, const AttentionCase& c) {
  return out << "T " << c.queries << " S " << c.keys << " N " << c.heads << " K " << c.kv_heads << " H "
             << c.head_dim << " " << dtype_info(c.kv_type).name << " mask " << c.mask << " bias " << c.bias;
}

// Owns the arrays that params() points to. Every stride has some padding; out is filled with kUntouched
// first.
class AttentionProblem {
 public:
  static constexpr float kUntouched = -77.0F;

  AttentionProblem(const AttentionCase& c, std::mt19937& random) : case_(c) {
    std::normal_distribution<float> draw(0.0F, 1.0F);
    const auto fill = [&](std::vector<float>& values, int64_t n) {
      values.resize(static_cast<size_t>(n));
      for (float& value : values) value = draw(random);
    };
    fill(q_, c.queries * q_row_stride());
    fill(k_, c.kv_heads * kv_head_stride());
    fill(v_, c.kv_heads * kv_head_stride());
    fill(bias_, c.heads);
    for (float& bias : bias_) bias = bias * 3 - 2;
    for (const auto& [from, to] : {std::pair(&k_, &k_half_), std::pair(&v_, &v_half_)}) {
      to->resize(from->size());
      reference::f32_to_bf16(from->data(), to->data(), static_cast<int64_t>(from->size()));
    }
    if (c.kv_type == DType::kQ8_0) {
      for (const auto& [from, to] : {std::pair(&k_, &k_blocks_), std::pair(&v_, &v_blocks_)})
        *to = blocks_of(*from);
    }
    for (int64_t i = 0; i < c.queries * (c.keys + 3); ++i) {
      const int64_t t = i / (c.keys + 3);
      const int64_t s = i % (c.keys + 3);
      // Query 1 sees nothing. Whole stretches of 100 keys are visible or not, or single ones.
      const bool visible = c.mask == AttentionCase::kBlocks ? (s / 100 + t / 7) % 3 == 0 : random() % 3 == 0;
      mask_.push_back(t != 1 && visible ? 1 + random() % 255 : 0);
    }
    for (int64_t s = 0; s < c.keys; ++s) bias_keys_.push_back(random() % 2 == 0 ? 0 : 5);
  }

  AttentionDecodeParams params(std::vector<float>& out) const {
    const AttentionCase& c = case_;
    out.assign(static_cast<size_t>(c.queries * q_row_stride()), kUntouched);
    AttentionDecodeParams p;
    p.q = q_.data();
    p.q_row_stride = p.out_row_stride = q_row_stride();
    p.q_head_stride = p.out_head_stride = c.head_dim + 1;
    p.kv_type = c.kv_type;
    p.k = k_.data();
    p.v = v_.data();
    p.k_head_stride = p.v_head_stride = kv_head_stride();
    p.k_row_stride = p.v_row_stride = c.head_dim + 2;
    if (c.kv_type == DType::kBF16) {
      p.k = k_half_.data();
      p.v = v_half_.data();
    } else if (c.kv_type == DType::kQ8_0) {
      p.k = k_blocks_.data();
      p.v = v_blocks_.data();
      p.k_row_stride = p.v_row_stride = block_row_stride();
      p.k_head_stride = p.v_head_stride = c.keys * block_row_stride() + 6;
    }
    p.out = out.data();
    p.num_queries = c.queries;
    p.num_keys = c.keys;
    p.num_heads = c.heads;
    p.num_kv_heads = c.kv_heads;
    p.head_dim = c.head_dim;
    p.scale = 1.0F / std::sqrt(static_cast<float>(c.head_dim));
    if (c.mask != AttentionCase::kCausal) {
      p.mask = mask_.data();
      p.mask_row_stride = c.keys + 3;
    }
    if (c.bias != AttentionCase::kNone) {
      p.head_bias = bias_.data();
      p.bias_begin = c.keys / 5;
      p.bias_end = c.keys - c.keys / 4;
    }
    if (c.bias == AttentionCase::kFlags) p.bias_keys = bias_keys_.data();
    return p;
  }

  std::vector<float> expected() const {
    std::vector<float> out;
    const AttentionDecodeParams p = params(out);
    std::vector<float> partials(static_cast<size_t>(attention_partial_floats(p, 1)));
    reference::attention_decode(p, 1, 0, p.num_kv_heads, partials.data(), nullptr);
    attention_merge(p, 1, partials.data());
    return out;
  }

  // A score is a sum of H products of N(0, 1) numbers over sqrt(H): below 8, its error below sqrt(H)
  // roundings of that size. e^score errs by as much and by 2e-7 for exp; the mean of S values below 5 by as
  // much times 5, twice (once in the numerator, once in the denominator). One wrong or missing key moves
  // results by 1 / S or more.
  double tolerance() const {
    const double score_error = std::sqrt(static_cast<double>(case_.head_dim)) * 8 * kEps + 2e-7;
    const double sum_error = std::sqrt(static_cast<double>(case_.keys)) * kEps;
    return 2 * 5 * (score_error + sum_error);
  }

 private:
  int64_t q_row_stride() const { return case_.heads * (case_.head_dim + 1) + 3; }
  int64_t block_row_stride() const { return case_.head_dim / 32 * 34 + 3; }
  // Rows [K, S] of floats as rows of blocks, with other gaps between them.
  std::vector<std::byte> blocks_of(const std::vector<float>& rows) const {
    const int64_t stride = block_row_stride();
    std::vector<std::byte> blocks(static_cast<size_t>(case_.kv_heads * (case_.keys * stride + 6)));
    for (int64_t k = 0; k < case_.kv_heads; ++k) {
      for (int64_t s = 0; s < case_.keys; ++s) {
        reference::quantize_row_q8_0(rows.data() + k * kv_head_stride() + s * (case_.head_dim + 2),
                                     blocks.data() + k * (case_.keys * stride + 6) + s * stride,
                                     case_.head_dim);
      }
    }
    return blocks;
  }
  int64_t kv_head_stride() const { return case_.keys * (case_.head_dim + 2) + 6; }

  AttentionCase case_;
  std::vector<float> q_, k_, v_, bias_;
  std::vector<uint16_t> k_half_, v_half_;
  std::vector<std::byte> k_blocks_, v_blocks_;
  std::vector<uint8_t> mask_, bias_keys_;
};

inline std::vector<AttentionCase> attention_cases() {
  using Case = AttentionCase;
  std::vector<Case> cases = {
      {1, 1, 1, 1, 8},
      {5, 5, 2, 1, 16},
      {64, 64, 3, 3, 64},
      {65, 200, 9, 3, 64},
      {7, 129, 4, 4, 32},
      {130, 131, 2, 1, 24},
      {33, 300, 9, 3, 64, DType::kBF16},
      {20, 77, 14, 2, 40, DType::kBF16},
      {9, 64, 8, 1, 256},
      {3, 70, 2, 2, 1},
      {3, 70, 2, 2, 7},
      {6, 90, 4, 2, 50, DType::kBF16},
      {17, 65, 3, 1, 100},
      {5, 130, 9, 3, 64, DType::kQ8_0},
      {2, 70, 2, 1, 96, DType::kQ8_0},
  };
  for (const auto mask : {Case::kCausal, Case::kRandom, Case::kBlocks}) {
    for (const auto bias : {Case::kNone, Case::kRange, Case::kFlags}) {
      if (mask == Case::kCausal && bias == Case::kNone) continue;
      cases.push_back({70, 350, 6, 2, 16, DType::kF32, mask, bias});
      cases.push_back({5, 201, 6, 2, 64, DType::kBF16, mask, bias});
      cases.push_back({3, 150, 6, 2, 32, DType::kQ8_0, mask, bias});
    }
  }
  // With a mask there may be more queries than keys.
  cases.push_back({80, 30, 2, 1, 16, DType::kF32, Case::kRandom});
  return cases;
}

}  // namespace beacon::kernels
