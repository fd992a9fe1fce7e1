#pragma once
// Packed weights: panels of adjacent outputs, the reduction running through each, so that the
// micro-kernel reads them as one stream.
#include <vector>

#include "runtime/tensor.h"

namespace tiller {

/// A weight [K,taps,C] in packed form: [panels][groups][reduced][columns] f32, zeros beyond the
/// last output. A group is a sum of taps. The outputs are K and the reduction C, or the other way
/// round when `transposed` (the input gradient).
struct PackForm {
  std::int64_t outputs_k, taps, c;                ///< K, R*S, C of the weight
  std::vector<std::vector<std::int64_t>> groups;  ///< taps summed for each group
  std::int64_t columns;                           ///< of a panel
  bool transposed = false;
  DType dtype;  ///< the weight is rounded to this dtype first

  std::int64_t outputs() const { return transposed ? c : outputs_k; }
  std::int64_t reduced() const { return transposed ? outputs_k : c; }
  std::int64_t panels() const { return (outputs() + columns - 1) / columns; }
  std::int64_t panel_stride() const {
    return static_cast<std::int64_t>(groups.size()) * reduced() * columns;
  }
};

/// The packed form, made on first use and kept with the weight until its version moves.
Tensor packed(const Tensor& w, const PackForm& form);

/// bias + second rounded to dtype, with zeros up to `padded` values, written to `to`.
void padded_bias(const Tensor& bias, const Tensor& second, DType dtype, std::int64_t padded,
                 float* to);

}  // namespace tiller
