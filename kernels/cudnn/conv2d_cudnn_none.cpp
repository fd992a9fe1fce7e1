#include "kernels/conv2d/conv2d.h"
#include "kernels/cudnn/rows.h"

namespace tiller {

template <>
std::span<const Row<Conv2dFwdArgs>> cudnn_rows<Conv2dFwdArgs>() {
  return {};
}
template <>
std::span<const Row<Conv2dDgradArgs>> cudnn_rows<Conv2dDgradArgs>() {
  return {};
}
template <>
std::span<const Row<Conv2dWgradArgs>> cudnn_rows<Conv2dWgradArgs>() {
  return {};
}

}  // namespace tiller
