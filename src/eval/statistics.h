#pragma once
// Averages with what is known of their error.
#include <cstdint>
#include <optional>
#include <span>

namespace beacon::eval {

struct Interval {
  double low = 0;
  double high = 0;
};

// A sum over so many tokens that vary together: those of one document, or of one stretch of it.
struct Cluster {
  double sum = 0;
  int64_t count = 0;  // > 0
};

// Mean of all: sum of sums / sum of counts. At least one cluster.
double mean(std::span<const Cluster> clusters);

// 95 % confidence interval of mean(): the ratio estimator's, with the clusters as independent draws and
// Student's t for their number minus one. Nothing for fewer than two clusters.
std::optional<Interval> mean_interval(std::span<const Cluster> clusters);

// 95 % interval of a proportion by Wilson's score, which stays inside [0, 1] and is sound for few trials.
// total > 0.
Interval proportion_interval(int64_t successes, int64_t total);

// The 97.5 % quantile of Student's t with `degrees` >= 1 degrees of freedom, within 0.1 %.
double student_t_975(int64_t degrees);

}  // namespace beacon::eval
