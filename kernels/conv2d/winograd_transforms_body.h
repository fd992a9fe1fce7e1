#pragma once
// The transforms of winograd_transforms.h for any vector length. The unnamed namespace keeps each
// instruction set's copy within its own file.
#include "kernels/conv2d/winograd_transforms.h"
#include "kernels/gemm/microkernel.h"

namespace tiller {
namespace {

// The points of 3 taps are 0, +-kA, +-kB and infinity; those of 2 taps +-kC, +-kD and infinity.
inline constexpr float kA = 0.75f, kB = 1.5f;
inline constexpr float kA2 = kA * kA, kB2 = kB * kB, kA3 = kA2 * kA, kB3 = kB2 * kB;
inline constexpr float kC = 0.5f, kD = 1.25f;
inline constexpr float kC2 = kC * kC, kD2 = kD * kD, kC3 = kC2 * kC, kD3 = kD2 * kD;

template <int kLanes>
struct Lanes {
  typedef float Value __attribute__((vector_size(kLanes * 4)));
  typedef float Unaligned __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
  static Value load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
  static void store(const Value& value, float* to) { *reinterpret_cast<Unaligned*>(to) = value; }
};
template <>
struct Lanes<1> {
  using Value = float;
  static float load(const float* from) { return *from; }
  static void store(const float& value, float* to) { *to = value; }
};

// t = B^T d. Points of opposite sign share the even and the odd part of their polynomial.
template <class V>
inline __attribute__((always_inline)) void input_map(const V (&d)[6], V (&t)[6]) {
  const V even_a = d[4] - kB2 * d[2], odd_a = d[3] - kB2 * d[1];
  const V even_b = d[4] - kA2 * d[2], odd_b = d[3] - kA2 * d[1];
  t[0] = kA2 * kB2 * d[0] + even_b - kB2 * d[2];
  t[1] = even_a + kA * odd_a;
  t[2] = even_a - kA * odd_a;
  t[3] = even_b + kB * odd_b;
  t[4] = even_b - kB * odd_b;
  t[5] = kA2 * kB2 * d[1] - (kA2 + kB2) * d[3] + d[5];
}

template <class V>
inline __attribute__((always_inline)) void input_map(const V (&d)[5], V (&t)[5]) {
  const V even_c = d[2] - kD2 * d[0], odd_c = d[3] - kD2 * d[1];
  const V even_d = d[2] - kC2 * d[0], odd_d = d[3] - kC2 * d[1];
  t[0] = odd_c + kC * even_c;
  t[1] = odd_c - kC * even_c;
  t[2] = odd_d + kD * even_d;
  t[3] = odd_d - kD * even_d;
  t[4] = kC2 * kD2 * d[0] - (kC2 + kD2) * d[2] + d[4];
}

// y = A^T m.
template <class V>
inline __attribute__((always_inline)) void output_map(const V (&m)[6], V (&y)[4]) {
  const V sum_a = m[1] + m[2], difference_a = m[1] - m[2];
  const V sum_b = m[3] + m[4], difference_b = m[3] - m[4];
  y[0] = m[0] + sum_a + sum_b;
  y[1] = kA * difference_a + kB * difference_b;
  y[2] = kA2 * sum_a + kB2 * sum_b;
  y[3] = kA3 * difference_a + kB3 * difference_b + m[5];
}

template <class V>
inline __attribute__((always_inline)) void output_map(const V (&m)[5], V (&y)[4]) {
  const V sum_c = m[0] + m[1], difference_c = m[0] - m[1];
  const V sum_d = m[2] + m[3], difference_d = m[2] - m[3];
  y[0] = sum_c + sum_d;
  y[1] = kC * difference_c + kD * difference_d;
  y[2] = kC2 * sum_c + kD2 * sum_d;
  y[3] = kC3 * difference_c + kD3 * difference_d + m[4];
}

// m = A dy.
template <class V>
inline __attribute__((always_inline)) void output_gradient_map(const V (&dy)[4], V (&m)[6]) {
  const V even_a = dy[0] + kA2 * dy[2], odd_a = kA * dy[1] + kA3 * dy[3];
  const V even_b = dy[0] + kB2 * dy[2], odd_b = kB * dy[1] + kB3 * dy[3];
  m[0] = dy[0];
  m[1] = even_a + odd_a;
  m[2] = even_a - odd_a;
  m[3] = even_b + odd_b;
  m[4] = even_b - odd_b;
  m[5] = dy[3];
}

template <class V>
inline __attribute__((always_inline)) void output_gradient_map(const V (&dy)[4], V (&m)[5]) {
  const V even_c = dy[0] + kC2 * dy[2], odd_c = kC * dy[1] + kC3 * dy[3];
  const V even_d = dy[0] + kD2 * dy[2], odd_d = kD * dy[1] + kD3 * dy[3];
  m[0] = even_c + odd_c;
  m[1] = even_c - odd_c;
  m[2] = even_d + odd_d;
  m[3] = even_d - odd_d;
  m[4] = dy[3];
}

// u = G g: the filter's polynomial at each point, over the product of the point's distances from the
// others.
template <class V>
inline __attribute__((always_inline)) void weight_map(const V (&g)[3], V (&u)[6]) {
  constexpr float kAt0 = 1 / (kA2 * kB2), kAtA = 1 / (2 * kA2 * (kA2 - kB2)),
                  kAtB = 1 / (2 * kB2 * (kB2 - kA2));
  const V even_a = kAtA * g[0] + kAtA * kA2 * g[2], odd_a = kAtA * kA * g[1];
  const V even_b = kAtB * g[0] + kAtB * kB2 * g[2], odd_b = kAtB * kB * g[1];
  u[0] = kAt0 * g[0];
  u[1] = even_a + odd_a;
  u[2] = even_a - odd_a;
  u[3] = even_b + odd_b;
  u[4] = even_b - odd_b;
  u[5] = g[2];
}

template <class V>
inline __attribute__((always_inline)) void weight_map(const V (&g)[2], V (&u)[5]) {
  constexpr float kAtC = 1 / (2 * kC * (kC2 - kD2)), kAtD = 1 / (2 * kD * (kD2 - kC2));
  u[0] = kAtC * g[0] + kAtC * kC * g[1];
  u[1] = kAtC * kC * g[1] - kAtC * g[0];
  u[2] = kAtD * g[0] + kAtD * kD * g[1];
  u[3] = kAtD * kD * g[1] - kAtD * g[0];
  u[4] = g[1];
}

template <int kLanes, int kPatch>
inline void input_step(const float* const* pixels, std::int64_t c, float* to,
                       std::int64_t product) {
  using L = Lanes<kLanes>;
  using V = typename L::Value;
  V half[kPatch][kPatch];  // columns mapped: [across][down]
#pragma GCC unroll 6
  for (int j = 0; j < kPatch; ++j) {
    V d[kPatch];
#pragma GCC unroll 6
    for (int i = 0; i < kPatch; ++i) d[i] = L::load(pixels[i * kPatch + j] + c);
    input_map(d, half[j]);
  }
#pragma GCC unroll 6
  for (int i = 0; i < kPatch; ++i) {
    V d[kPatch], t[kPatch];
#pragma GCC unroll 6
    for (int j = 0; j < kPatch; ++j) d[j] = half[j][i];
    input_map(d, t);
#pragma GCC unroll 6
    for (int j = 0; j < kPatch; ++j) L::store(t[j], to + (i * kPatch + j) * product);
  }
}

template <int kLanes, int kPatch>
void input_transform(const float* const* pixels, std::int64_t channels, std::int64_t first,
                     const WinogradStrips& strips) {
  const auto place = [&](std::int64_t channel) {
    return strips.to + channel / kStripElements * strips.strip + channel % kStripElements;
  };
  std::int64_t c = 0;
  if (first % kLanes == 0)
    for (; c + kLanes <= channels; c += kLanes)
      input_step<kLanes, kPatch>(pixels, c, place(first + c), strips.product);
  for (; c < channels; ++c) input_step<1, kPatch>(pixels, c, place(first + c), strips.product);
}

template <int kLanes, int kPatch>
void output_transform(const float* from, std::int64_t stride, std::int64_t columns, float* to) {
  using L = Lanes<kLanes>;
  using V = typename L::Value;
  for (std::int64_t k = 0; k < columns; k += kLanes) {
    V half[kPatch][4];  // columns mapped: [across][down]
#pragma GCC unroll 6
    for (int j = 0; j < kPatch; ++j) {
      V m[kPatch];
#pragma GCC unroll 6
      for (int i = 0; i < kPatch; ++i) m[i] = L::load(from + (i * kPatch + j) * stride + k);
      output_map(m, half[j]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      V m[kPatch], y[4];
#pragma GCC unroll 6
      for (int j = 0; j < kPatch; ++j) m[j] = half[j][i];
      output_map(m, y);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) L::store(y[j], to + (i * 4 + j) * columns + k);
    }
  }
}

template <int kLanes, int kPatch>
inline void output_gradient_step(const float* const* pixels, std::int64_t c, float* to,
                                 std::int64_t product, float* sum) {
  using L = Lanes<kLanes>;
  using V = typename L::Value;
  V half[4][kPatch];  // columns mapped: [across][down]
  V columns[4];       // summed
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    V dy[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) dy[i] = L::load(pixels[i * 4 + j] + c);
    columns[j] = (dy[0] + dy[1]) + (dy[2] + dy[3]);
    output_gradient_map(dy, half[j]);
  }
  L::store((columns[0] + columns[1]) + (columns[2] + columns[3]), sum + c);
#pragma GCC unroll 6
  for (int i = 0; i < kPatch; ++i) {
    V dy[4], m[kPatch];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) dy[j] = half[j][i];
    output_gradient_map(dy, m);
#pragma GCC unroll 6
    for (int j = 0; j < kPatch; ++j) L::store(m[j], to + (i * kPatch + j) * product + c);
  }
}

template <int kLanes, int kPatch>
void weight_transform(const float* taps, std::int64_t stride, bool reversed, std::int64_t count,
                      float* to, std::int64_t product) {
  using L = Lanes<kLanes>;
  using V = typename L::Value;
  constexpr int kTaps = kPatch - 3;
  const float* const first = reversed ? taps + (kTaps * kTaps - 1) * stride : taps;
  const std::int64_t step = reversed ? -stride : stride;
  for (std::int64_t f = 0; f < count; f += kLanes) {
    V half[kTaps][kPatch];  // columns mapped: [across][down]
#pragma GCC unroll 3
    for (int s = 0; s < kTaps; ++s) {
      V g[kTaps];
#pragma GCC unroll 3
      for (int r = 0; r < kTaps; ++r) g[r] = L::load(first + (kTaps * r + s) * step + f);
      weight_map(g, half[s]);
    }
#pragma GCC unroll 6
    for (int i = 0; i < kPatch; ++i) {
      V g[kTaps], u[kPatch];
#pragma GCC unroll 3
      for (int s = 0; s < kTaps; ++s) g[s] = half[s][i];
      weight_map(g, u);
#pragma GCC unroll 6
      for (int j = 0; j < kPatch; ++j) L::store(u[j], to + (kPatch * i + j) * product + f);
    }
  }
}

template <int kLanes, int kPatch>
void output_gradient_transform(const float* const* pixels, std::int64_t channels, float* to,
                               std::int64_t product, float* sum) {
  std::int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes)
    output_gradient_step<kLanes, kPatch>(pixels, c, to, product, sum);
  for (; c < channels; ++c) output_gradient_step<1, kPatch>(pixels, c, to, product, sum);
}

template <int kLanes, int kPatch>
constexpr WinogradTransforms kTransforms{
    kPatch - 3, input_transform<kLanes, kPatch>, output_transform<kLanes, kPatch>,
    output_gradient_transform<kLanes, kPatch>, weight_transform<kLanes, kPatch>};

template <int kLanes>
const WinogradTransforms& transforms_of(int taps) {
  return taps == 3 ? kTransforms<kLanes, 6> : kTransforms<kLanes, 5>;
}

}  // namespace
}  // namespace tiller
