#pragma once
// cuDNN's rows of an operation, behind our own on a GPU: none, except for those declared here.
// Where cuDNN's headers are missing these are empty, too.
#include "runtime/op.h"

namespace tiller {

struct Conv2dFwdArgs;
struct Conv2dDgradArgs;
struct Conv2dWgradArgs;

template <class Args>
std::span<const Row<Args>> cudnn_rows() {
  return {};
}
template <>
std::span<const Row<Conv2dFwdArgs>> cudnn_rows<Conv2dFwdArgs>();
template <>
std::span<const Row<Conv2dDgradArgs>> cudnn_rows<Conv2dDgradArgs>();
template <>
std::span<const Row<Conv2dWgradArgs>> cudnn_rows<Conv2dWgradArgs>();

}  // namespace tiller
