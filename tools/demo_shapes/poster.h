#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/tensor.h"

namespace tiller::demo {

/// What one guidance scale made, and how well it obeyed.
struct PosterColumn {
  double scale = 0;
  Tensor pictures;      // [kClasses*M,kSide,kSide,3] f32, class by class
  double accuracy = 0;  ///< share that shows the class asked for
};

/// One row per class, one column of M pictures per scale: u8 [H,W,3] on the host. In a row, the
/// pictures at the same place of each column began as the same noise.
Tensor draw_poster(const std::vector<PosterColumn>& columns);

}  // namespace tiller::demo
