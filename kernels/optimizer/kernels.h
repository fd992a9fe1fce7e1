#pragma once
// What the kernels over all parameters are launched with. A list of tensors travels in the kernel's
// parameters (CUDA allows 32764 bytes of them), so that one launch serves hundreds of tensors and
// no table is copied to the device.
#include "kernels/view.h"

namespace tiller {
inline namespace TILLER_DEVICE {

inline constexpr int kListTensors = 400;      ///< of one launch
inline constexpr std::int64_t kPiece = 4096;  ///< elements that a block works on

/// Entry i of the list is tensor i: kOperands pointers and a count. Blocks [first_block[i],
/// first_block[i + 1]) work on it.
template <int kOperands>
struct TensorList {
  void* data[kOperands][kListTensors];
  std::int64_t count[kListTensors];
  std::uint32_t first_block[kListTensors + 1];
  int tensors;
};

struct AdamWParams {
  TensorList<4> list;  ///< p, grad, m, v, f32
  float grad_scale, decay, beta1, one_minus_beta1, beta2, one_minus_beta2, root_correction2, eps,
      step_size;
};
void adamw_v1(const AdamWParams& params, Stream stream);

struct EmaParams {
  TensorList<2> list;  ///< ema, p, f32
  float rate, one_minus_rate;
};
void ema_v1(const EmaParams& params, Stream stream);

struct ScaleAllParams {
  TensorList<1> list;
  DType dtype;
  float scale;
};
void scale_all_v1(const ScaleAllParams& params, Stream stream);

/// Sums of squares: block b of the launch writes sums[first_sum + b] and sets flags[first_sum + b]
/// when an element is not finite.
struct NormParams {
  TensorList<1> list;
  DType dtypes[kListTensors];
  double scale;
  double* sums;
  int* flags;
  std::int64_t first_sum;
};
void norm_sums_v1(const NormParams& params, Stream stream);

struct NormJoinParams {
  const double* sums;
  const int* flags;
  std::int64_t count;
  double* out;  ///< [2]: the norm, and 1 if anything was not finite
};
void norm_join_v1(const NormJoinParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
