#pragma once
// Parameters as the products see them: weights and biases kept in f32 are rounded to the dtype of
// the activations before they are used, as PyTorch's half-precision convolutions have it.
#include <vector>

#include "kernels/reference.h"

namespace tiller {

/// All elements of a weight whose dtype is T's or Acc<T>'s, rounded to T, in row order.
template <class T>
std::vector<Acc<T>> rounded_weight(const Tensor& w) {
  std::vector<Acc<T>> out;
  out.reserve(static_cast<std::size_t>(w.numel()));
  for (std::int64_t row = 0; row < w.rows(); ++row)
    for (std::int64_t c = 0; c < w.cols(); ++c)
      out.push_back(static_cast<Acc<T>>(w.dtype() == DTypeOf<T>::value
                                            ? row_of<const T>(w, row)[c]
                                            : static_cast<T>(row_of<const Acc<T>>(w, row)[c])));
  return out;
}

/// A bias rounded to T; zeros when there is none.
template <class T>
std::vector<Acc<T>> rounded_bias(const Tensor& bias, std::int64_t k) {
  if (bias) return rounded_weight<T>(bias);
  return std::vector<Acc<T>>(static_cast<std::size_t>(k), Acc<T>(0));
}

}  // namespace tiller
