#pragma once
// How far apart vectors are: precision and recall of samples, and their spread.
#include <cstdint>
#include <vector>

#include "runtime/tensor.h"

namespace tiller::quality {

/// Precision: the share of samples that lie among the real pictures. Recall: the share of real
/// pictures that lie among the samples.
struct PrecisionRecall {
  double precision = 0, recall = 0;
};

/// Kynkaanniemi et al. 2019, equation 1: a vector lies among others when it is no farther from one
/// of them than that one's k-th nearest neighbour is. real [M,F], samples [N,F] f32. Throws Error
/// where one of them has not more than k vectors.
PrecisionRecall precision_recall(const Tensor& real, const Tensor& samples, std::int64_t k);

/// The mean distance between two vectors of the same label, over all such pairs; NaN without any.
/// features [N,F] f32, labels of length N.
double spread_within(const Tensor& features, const std::vector<std::int64_t>& labels);

}  // namespace tiller::quality
