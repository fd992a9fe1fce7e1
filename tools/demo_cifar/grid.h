#pragma once
#include <string>
#include <vector>

#include "runtime/tensor.h"

namespace tiller::demo {

/// What one way of sampling made of the noise.
struct GridBlock {
  std::string label;  ///< beside its first row; '\n' starts a line
  Tensor pictures;    // [M*K,H,W,C] u8: picture i shows class i mod K
};

/// One column per class, M rows per block: u8 [H,W,3] on the host. Pictures at the same place of two
/// blocks began as the same noise.
Tensor draw_class_grid(const std::vector<GridBlock>& blocks,
                       const std::vector<std::string>& class_names);

}  // namespace tiller::demo
