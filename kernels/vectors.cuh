#pragma once
// Eight neighbouring elements at a time: one 16-byte access for halves, two for f32. In registers
// they are f32. The host side's question is in_eights() of kernels/device_rows.h.
#include "kernels/view.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

struct Eight {
  float v[8];
};

template <class T>
__device__ __forceinline__ Eight widen(const Vec<T, 8>& x) {
  Eight y;
#pragma unroll
  for (int e = 0; e < 8; ++e) y.v[e] = static_cast<float>(x.v[e]);
  return y;
}
template <class T>
__device__ __forceinline__ Vec<T, 8> narrow(const Eight& x) {
  Vec<T, 8> y;
#pragma unroll
  for (int e = 0; e < 8; ++e) y.v[e] = T(x.v[e]);
  return y;
}

/// The elements from `offset` on, a multiple of 8: f32, f16 or bf16.
__device__ __forceinline__ Eight load8_at(const View& v, std::int64_t offset) {
  if (v.dtype == DType::f16) return widen(load_vec<8>(static_cast<const f16*>(v.data) + offset));
  if (v.dtype == DType::bf16) return widen(load_vec<8>(static_cast<const bf16*>(v.data) + offset));
  const float* from = static_cast<const float*>(v.data) + offset;
  const Vec<float, 4> low = load_vec<4>(from), high = load_vec<4>(from + 4);
  return {{low.v[0], low.v[1], low.v[2], low.v[3], high.v[0], high.v[1], high.v[2], high.v[3]}};
}
__device__ __forceinline__ void store8_at(const View& v, std::int64_t offset, const Eight& x) {
  if (v.dtype == DType::f16) return store_vec(static_cast<f16*>(v.data) + offset, narrow<f16>(x));
  if (v.dtype == DType::bf16)
    return store_vec(static_cast<bf16*>(v.data) + offset, narrow<bf16>(x));
  float* to = static_cast<float*>(v.data) + offset;
  store_vec(to, Vec<float, 4>{x.v[0], x.v[1], x.v[2], x.v[3]});
  store_vec(to + 4, Vec<float, 4>{x.v[4], x.v[5], x.v[6], x.v[7]});
}

/// Elements i ... i + 7 in row order, i a multiple of 8.
__device__ __forceinline__ Eight load8(const View& v, std::int64_t i) {
  return load8_at(v, offset_of(v, i));
}
__device__ __forceinline__ void store8(const View& v, std::int64_t i, const Eight& x) {
  store8_at(v, offset_of(v, i), x);
}

/// x[e] = f(x[e]).
template <class F>
__device__ __forceinline__ void each(Eight& x, const F& f) {
#pragma unroll
  for (int e = 0; e < 8; ++e) x.v[e] = f(x.v[e]);
}
/// x[e] = f(x[e], y[e]).
template <class F>
__device__ __forceinline__ void each(Eight& x, const Eight& y, const F& f) {
#pragma unroll
  for (int e = 0; e < 8; ++e) x.v[e] = f(x.v[e], y.v[e]);
}

/// 1 / (1 + e^-x), by the hardware's 2^x and 1/x.
__device__ __forceinline__ float sigmoid_approx(float x) {
  return rcp_approx(1.0f + exp_approx(-x));
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
