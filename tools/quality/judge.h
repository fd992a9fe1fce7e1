#pragma once
// What a classifier sees in finished pictures.
#include <cstdint>
#include <functional>
#include <vector>

#include "nn/classifier.h"
#include "tools/data/dataset.h"

namespace tiller::quality {

/// Pictures as a classifier sees them.
struct Judgement {
  Tensor features;                 // [N,F] f32 on the host: what its last layer reads
  std::vector<std::int64_t> seen;  ///< [N] the class of the largest logit
};

/// Receives how many pictures are done; may throw to stop.
using OnPictures = std::function<void(std::int64_t)>;

/// Shows the classifier pictures, u8 [N,H,W,C], at timestep 0: as free of noise.
Judgement judge(const Classifier& classifier, const Tensor& pixels, const OnPictures& done = {});

/// The share of pictures in which the class of the same place in `labels` is seen.
double share_right(const std::vector<std::int64_t>& seen, const std::vector<std::int64_t>& labels);

/// The classes of samples 0 .. N - 1: 0, 1, ... in turn, so that any first part of a run asks for
/// each class equally often.
std::vector<std::int64_t> labels_in_turn(std::int64_t n, std::int64_t num_classes);

/// Every picture of a set, its middle cut out at side x side: u8 [N,side,side,C].
Tensor all_pictures(const Dataset& data, std::int64_t side, const OnPictures& done = {});

/// The rows of x [N,...] at these places.
Tensor rows_at(const Tensor& x, const std::vector<std::int64_t>& places);

}  // namespace tiller::quality
