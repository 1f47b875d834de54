#include "eval/statistics.h"

#include <array>
#include <cmath>

#include "base/check.h"

namespace beacon::eval {
namespace {

constexpr double kNormal975 = 1.959963984540054;

}  // namespace

double mean(std::span<const Cluster> clusters) {
  double sum = 0;
  int64_t count = 0;
  for (const Cluster& cluster : clusters) {
    sum += cluster.sum;
    count += cluster.count;
  }
  BEACON_CHECK(count > 0);
  return sum / static_cast<double>(count);
}

std::optional<Interval> mean_interval(std::span<const Cluster> clusters) {
  const auto n = static_cast<double>(clusters.size());
  if (clusters.size() < 2) return std::nullopt;
  const double centre = mean(clusters);
  double squares = 0, count = 0;
  for (const Cluster& cluster : clusters) {
    const double off = cluster.sum - centre * static_cast<double>(cluster.count);
    squares += off * off;
    count += static_cast<double>(cluster.count);
  }
  const double error = std::sqrt(n / (n - 1) * squares) / count;
  const double half = student_t_975(static_cast<int64_t>(clusters.size()) - 1) * error;
  return Interval{centre - half, centre + half};
}

Interval proportion_interval(int64_t successes, int64_t total) {
  BEACON_CHECK(total > 0 && successes >= 0 && successes <= total);
  const auto n = static_cast<double>(total);
  const double p = static_cast<double>(successes) / n;
  const double z2 = kNormal975 * kNormal975;
  const double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const double half = kNormal975 / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

double student_t_975(int64_t degrees) {
  BEACON_CHECK(degrees >= 1);
  static constexpr std::array<double, 10> kSmall = {12.7062, 4.3027, 3.1824, 2.7764, 2.5706,
                                                    2.4469,  2.3646, 2.3060, 2.2622, 2.2281};
  if (degrees <= static_cast<int64_t>(kSmall.size())) return kSmall[static_cast<size_t>(degrees - 1)];
  // Cornish-Fisher expansion around the normal quantile (Abramowitz and Stegun 26.7.5).
  const double z = kNormal975, z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z;
  const auto v = static_cast<double>(degrees);
  return z + (z3 + z) / (4 * v) + (5 * z5 + 16 * z3 + 3 * z) / (96 * v * v) +
         (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * v * v * v);
}

}  // namespace beacon::eval
