#pragma once
// From what a judge has seen to one row of the report.
#include "tools/quality/frechet.h"
#include "tools/quality/judge.h"
#include "tools/quality/report.h"

namespace tiller::quality {

/// The real pictures, as the judge sees them.
struct Reference {
  Tensor features;  // [M,F]
  Gaussian fit;
  double spread = 0;  ///< mean distance within a class; NaN where classes are not known
};

/// `labels` may be empty.
Reference make_reference(const Tensor& features, const std::vector<std::int64_t>& labels);

/// Measures samples that were asked for `labels` (which may be empty: no accuracy, no spread).
/// Precision and recall compare equally many vectors of both, spread evenly over the larger set,
/// with the k-th nearest neighbour.
Measurement measure(const Reference& real, const Judgement& samples,
                    const std::vector<std::int64_t>& labels, std::int64_t k);

/// Every second real picture, at most `most` of them, measured against the others: what a perfect
/// network would reach. None where there are too few pictures.
std::vector<Measurement> measure_real(const Judgement& real,
                                      const std::vector<std::int64_t>& labels, std::int64_t most,
                                      std::int64_t k);

/// `count` places, spread evenly over 0 .. total - 1 (all of them where count >= total).
std::vector<std::int64_t> even_places(std::int64_t total, std::int64_t count);

}  // namespace tiller::quality
