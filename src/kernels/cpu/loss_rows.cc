// Losses of rows of logits.
#include "kernels/cpu/elements.h"
#include "kernels/cpu/exp.h"
#include "kernels/cpu/functions.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

constexpr float kMinusInfinity = -__builtin_inff();

// log of the sum of e^x, in two passes: a row stays in the second-level cache.
template <DType kType>
float log_sum_exp(const void* data, int64_t first, int64_t n) {
  VF best[2] = {broadcast(kMinusInfinity), broadcast(kMinusInfinity)};
  for (int64_t i = 0; i < n; i += 2 * kLanes) {
    for (int64_t half = 0; half < 2; ++half) {
      const int64_t at = i + half * kLanes;
      if (at < n) best[half] = larger(read<kType>(data, first + at, n - at, kMinusInfinity), best[half]);
    }
  }
  const float largest = largest_lane(larger(best[0], best[1]));
  VF sums[2] = {};
  for (int64_t i = 0; i < n; i += 2 * kLanes) {
    for (int64_t half = 0; half < 2; ++half) {
      const int64_t at = i + half * kLanes;
      if (at < n)
        sums[half] =
            sums[half] + exp_nonpositive(read<kType>(data, first + at, n - at, kMinusInfinity) - largest);
    }
  }
  return largest + __builtin_logf(sum_lanes(sums[0] + sums[1]));
}

template <DType kType>
void differentiate_row(const LossRows& p, int64_t first, float lse, int32_t label, float label_value) {
  for (int64_t i = 0; i < p.vocabulary; i += kLanes) {
    const int64_t n = p.vocabulary - i;
    const VF probability = exp_nonpositive(read<kType>(p.logits, first + i, n) - lse);
    write<kType>(p.logits, first + i, n, probability * p.cross_entropy_weight);
  }
  // p - 1 of the label's full precision, not of its rounded p.
  const float gradient = __builtin_expf(label_value - lse) - 1.0F;
  write<kType>(p.logits, first + label, 1, broadcast(gradient * p.cross_entropy_weight));
}

// With a teacher; returns KL(t || p).
template <DType kType>
float teach_row(const LossRows& p, int64_t first, float lse, float teacher_lse, int32_t label,
                float label_value) {
  VF sum = {};
  VF total = {};
  const float of_p = p.cross_entropy_weight + p.divergence_weight;
  const float label_t = read_one<kType>(p.teacher, first + label) - teacher_lse;
  for (int64_t i = 0; i < p.vocabulary; i += kLanes) {
    const int64_t n = p.vocabulary - i;
    // Lanes beyond the end have no weight.
    const VF log_t = read<kType>(p.teacher, first + i, n, kMinusInfinity) - teacher_lse;
    const VF log_p = read<kType>(p.logits, first + i, n) - lse;
    const VF t = exp_nonpositive(log_t);
    total = total + t;
    sum = sum + select(t == 0.0F, VF{}, t * (log_t - log_p));
    if (p.differentiate)
      write<kType>(p.logits, first + i, n, exp_nonpositive(log_p) * of_p - t * p.divergence_weight);
  }
  if (p.differentiate) {
    const float gradient =
        __builtin_expf(label_value - lse) * of_p - __builtin_expf(label_t) * p.divergence_weight;
    write<kType>(p.logits, first + label, 1, broadcast(gradient - p.cross_entropy_weight));
  }
  // The rounding of teacher_lse is common to all t, whose sum would be 1 without it.
  return sum_lanes(sum) / sum_lanes(total);
}

template <DType kType>
void loss_row(const LossRows& p, int64_t row) {
  const int64_t first = row * p.vocabulary;
  const int32_t label = p.labels[row];
  const float lse = log_sum_exp<kType>(p.logits, first, p.vocabulary);
  const float label_value = read_one<kType>(p.logits, first + label);
  p.cross_entropy[row] = lse - label_value;
  if (p.teacher != nullptr) {
    const float teacher_lse = log_sum_exp<kType>(p.teacher, first, p.vocabulary);
    p.divergence[row] = teach_row<kType>(p, first, lse, teacher_lse, label, label_value);
  } else if (p.differentiate) {
    differentiate_row<kType>(p, first, lse, label, label_value);
  }
}

}  // namespace

void loss_rows(const LossRows& p, int64_t begin, int64_t end) noexcept {
  with_type(p.type, [&](auto type) {
    for (int64_t r = begin; r < end; ++r) loss_row<decltype(type)::kValue>(p, r);
  });
}

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
