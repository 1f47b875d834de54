#pragma once
// Problems of attention of many queries, and how its forward pass is run.
#include <algorithm>

#include "kernel_test.h"
#include "kernels/attention.h"
#include "kernels/reference/reference.h"

namespace beacon::kernels {

struct Case {
  int64_t queries = 1;
  int64_t keys = 1;
  int64_t heads = 1;
  int64_t kv_heads = 1;
  int64_t head_dim = 64;
  DType type = DType::kF32;
  enum Mask { kCausal, kRandom, kBlocks, kColumns } mask = kCausal;
  bool bias = false;
};

inline std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << "T " << c.queries << " S " << c.keys << " N " << c.heads << " K " << c.kv_heads << " H "
             << c.head_dim << " " << dtype_info(c.type).name << " mask " << c.mask << " bias " << c.bias;
}

// An array [rows, heads, H] with padded strides, its elements exact in its type.
struct Array {
  Array(DType type, int64_t rows, int64_t heads, int64_t dim)
      : type(type),
        rows(rows),
        heads(heads),
        dim(dim),
        head_stride(dim + 2),
        row_stride(heads * head_stride + 4) {
    floats.assign(static_cast<size_t>(rows * row_stride), -77.0F);
    halves.resize(floats.size());
  }
  void fill(std::mt19937& random) {
    std::normal_distribution<float> draw(0.0F, 1.0F);
    for (float& value : floats) value = draw(random);
    reference::f32_to_bf16(floats.data(), halves.data(), static_cast<int64_t>(floats.size()));
    if (type == DType::kBF16)
      reference::bf16_to_f32(halves.data(), floats.data(), static_cast<int64_t>(floats.size()));
  }
  HeadOutput output() {
    return {type == DType::kBF16 ? static_cast<void*>(halves.data()) : floats.data(), row_stride, head_stride,
            type};
  }
  HeadArray input() { return {output().data, row_stride, head_stride, type}; }
  std::vector<float> values() const {
    std::vector<float> result;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t n = 0; n < heads; ++n) {
        for (int64_t h = 0; h < dim; ++h) {
          const auto at = static_cast<size_t>(r * row_stride + n * head_stride + h);
          result.push_back(type == DType::kBF16 ? reference::bf16_to_f32_one(halves[at]) : floats[at]);
        }
      }
    }
    return result;
  }
  bool padding_untouched() const {
    for (int64_t r = 0; r < rows; ++r) {
      const auto at = static_cast<size_t>(r * row_stride + heads * head_stride - 2);
      if (type == DType::kBF16 ? halves[at] != 0 : floats[at] != -77.0F) return false;
    }
    return true;
  }
  DType type;
  int64_t rows, heads, dim, head_stride, row_stride;
  std::vector<float> floats;
  std::vector<uint16_t> halves;
};

struct Results {
  Results(const Case& c)
      : out(c.type, c.queries, c.heads, c.head_dim),
        dq(c.type, c.queries, c.heads, c.head_dim),
        dk(c.type, c.keys, c.kv_heads, c.head_dim),
        dv(c.type, c.keys, c.kv_heads, c.head_dim),
        lse(static_cast<size_t>(c.heads * c.queries)),
        dbias(static_cast<size_t>(c.heads)) {}
  Array out, dq, dk, dv;
  std::vector<float> lse, dbias;
};

class Problem {
 public:
  Problem(const Case& c, std::mt19937& random)
      : case_(c),
        q_(c.type, c.queries, c.heads, c.head_dim),
        dout_(c.type, c.queries, c.heads, c.head_dim),
        k_(c.type, c.keys, c.kv_heads, c.head_dim),
        v_(c.type, c.keys, c.kv_heads, c.head_dim) {
    for (Array* array : {&q_, &dout_, &k_, &v_}) array->fill(random);
    for (int64_t n = 0; n < c.heads; ++n) bias_.push_back(static_cast<float>(n % 5) - 2.5F);
    for (int64_t s = 0; s < c.keys; ++s) bias_keys_.push_back(random() % 2 == 0 ? 0 : 5);
    for (int64_t t = 0; t < c.queries; ++t) {
      for (int64_t s = 0; s < c.keys + 3; ++s) {
        // Query 1 sees nothing. Whole stretches of keys are visible or not, or single ones.
        const bool visible = c.mask == Case::kBlocks ? (s / 70 + t / 23) % 3 == 0 : random() % 3 == 0;
        // As hidden keys look to all that come later; the first queries see fewer.
        const bool column = s % 7 != 3 && (s < c.keys / 2 || t > 5);
        const bool some = t != 1 && visible;
        mask_.push_back(c.mask == Case::kColumns ? (column ? 1 : 0) : some ? 1 + random() % 255 : 0);
      }
    }
  }
  AttentionParams params(Results& results) {
    const Case& c = case_;
    AttentionParams p;
    p.q = q_.input();
    p.k = k_.input();
    p.v = v_.input();
    p.dout = dout_.input();
    p.num_queries = c.queries;
    p.num_keys = c.keys;
    p.num_heads = c.heads;
    p.num_kv_heads = c.kv_heads;
    p.head_dim = c.head_dim;
    p.scale = 1.0F / std::sqrt(static_cast<float>(c.head_dim));
    if (c.mask != Case::kCausal) {
      p.mask = mask_.data();
      p.mask_row_stride = c.keys + 3;
    }
    if (c.bias) {
      p.head_bias = bias_.data();
      p.bias_keys = bias_keys_.data();
      p.dbias = results.dbias.data();
    }
    p.out = results.out.output();
    p.lse = results.lse.data();
    p.dq = results.dq.output();
    p.dk = results.dk.output();
    p.dv = results.dv.output();
    return p;
  }

 private:
  Case case_;
  Array q_, dout_, k_, v_;
  std::vector<float> bias_;
  std::vector<uint8_t> bias_keys_, mask_;
};

// Scratch of exactly the size asked for, off any alignment, full of NaN.
class GuardedFloats {
 public:
  explicit GuardedFloats(int64_t n) : floats_(static_cast<size_t>(n) + 2, NAN) { floats_.back() = 5.0F; }
  ~GuardedFloats() { EXPECT_EQ(floats_.back(), 5.0F); }
  float* data() { return floats_.data() + 1; }

 private:
  std::vector<float> floats_;
};

inline void run_forward(const AttentionParams& p, int64_t begin, int64_t end) {
  GuardedFloats scratch(attention_forward_scratch_floats(p));
  attention_forward(p, begin, end, scratch.data());
}

// One unit at a time and backwards.
inline void run_forward(const AttentionParams& p) {
  for (int64_t unit = attention_forward_units(p) - 1; unit >= 0; --unit) run_forward(p, unit, unit + 1);
}

}  // namespace beacon::kernels
