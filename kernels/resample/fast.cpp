#include "kernels/resample/fast.h"

#include "kernels/blocks.h"
#include "kernels/reference.h"
#include "kernels/resample/taps.h"
#include "kernels/simd.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

using V = f32x8;

// One pixel's channels as the weighted sum of `count` pixels' channels. kCount, when not 0, is the
// count as a constant, which lets the loop over the taps unroll.
template <int kCount, class T>
void blend(const T* const* from, const float* weights, std::int64_t count, std::int64_t channels,
           T* to) {
  const std::int64_t taps = kCount ? kCount : count;
  for (Step<V> s(channels); s; s.next()) {
    V sum = taps ? s.load(from[0]) * V(weights[0]) : V(0.0f);
    for (std::int64_t k = 1; k < taps; ++k) sum = fma(s.load(from[k]), V(weights[k]), sum);
    s.store(sum, to);
  }
}

// y [N,P,Q,C] from x [N,H,W,C]: a task is a row of pixels.
template <class T>
void resample(const char* kernel, const Tensor& x, const Tensor& y, const Axis& up,
              const Axis& across) {
  if (y.numel() == 0) return;
  const std::int64_t height = x.dim(1), width = x.dim(2), channels = y.cols();
  launch(kernel, y.dim(0) * y.dim(1), [&](std::int64_t task) {
    const std::int64_t n = task / y.dim(1), p = task % y.dim(1);
    const std::vector<Tap>& row_taps = up.taps[static_cast<std::size_t>(p)];
    std::vector<const T*> from;
    std::vector<float> weights;
    for (std::int64_t q = 0; q < y.dim(2); ++q) {
      from.clear();
      weights.clear();
      for (const Tap& u : row_taps)
        for (const Tap& v : across.taps[static_cast<std::size_t>(q)]) {
          from.push_back(row_of<const T>(x, (n * height + u.index) * width + v.index));
          weights.push_back(static_cast<float>(u.weight * v.weight));
        }
      if (up.mean)
        std::fill(weights.begin(), weights.end(), 1.0f / static_cast<float>(from.size()));
      const auto count = static_cast<std::int64_t>(from.size());
      T* to = row_of<T>(y, task * y.dim(2) + q);
      if (count == 1)
        blend<1>(from.data(), weights.data(), count, channels, to);
      else if (count == 4)
        blend<4>(from.data(), weights.data(), count, channels, to);
      else
        blend<0>(from.data(), weights.data(), count, channels, to);
    }
  });
}

// The same for a few channels, where a vector would be mostly empty: the taps of a row first, over
// whole rows of floats, then the taps of a column.
template <class T>
void resample_narrow(const char* kernel, const Tensor& x, const Tensor& y, const Axis& up,
                     const Axis& across) {
  if (y.numel() == 0) return;
  const std::int64_t height = x.dim(1), channels = y.cols(), row_size = x.dim(2) * channels;
  launch(kernel, y.dim(0) * y.dim(1), [&](std::int64_t task) {
    const std::int64_t n = task / y.dim(1), p = task % y.dim(1);
    const std::vector<Tap>& row_taps = up.taps[static_cast<std::size_t>(p)];
    std::vector<float> sum(static_cast<std::size_t>(row_size), 0.0f);  // [W,C]
    std::vector<float> buffer(static_cast<std::size_t>(row_size));
    const float row_scale = up.mean ? 1.0f / static_cast<float>(row_taps.size()) : 1.0f;
    for (const Tap& u : row_taps) {
      const float* row = read_block(x, (n * height + u.index) * row_size, row_size, buffer.data());
      const V weight(static_cast<float>(u.weight) * row_scale);
      for (Step<V> s(row_size); s; s.next())
        s.store(fma(s.load(row), weight, s.load(sum.data())), sum.data());
    }
    for (std::int64_t q = 0; q < y.dim(2); ++q) {
      const std::vector<Tap>& taps = across.taps[static_cast<std::size_t>(q)];
      const float scale = across.mean ? 1.0f / static_cast<float>(taps.size()) : 1.0f;
      T* to = row_of<T>(y, task * y.dim(2) + q);
      for (std::int64_t c = 0; c < channels; ++c) {
        float value = 0;
        for (const Tap& v : taps)
          value +=
              static_cast<float>(v.weight) * sum[static_cast<std::size_t>(v.index * channels + c)];
        to[c] = static_cast<T>(value * scale);
      }
    }
  });
}

template <class T>
void resample_any(const char* kernel, const Tensor& x, const Tensor& y, const Axis& up,
                  const Axis& across) {
  y.cols() < V::kWidth ? resample_narrow<T>(kernel, x, y, up, across)
                       : resample<T>(kernel, x, y, up, across);
}

}  // namespace

bool resample_fwd_fast_supports(const ResampleFwdArgs& args) { return args.dtype() != DType::f64; }
bool resample_bwd_fast_supports(const ResampleBwdArgs& args) { return args.dtype() != DType::f64; }

void resample_fwd_fast(const ResampleFwdArgs& args, void*, Stream) {
  const Axis up = forward_axis(args.kind, args.x.dim(1), args.y.dim(1));
  const Axis across = forward_axis(args.kind, args.x.dim(2), args.y.dim(2));
  dispatch_floating(args.dtype(), [&](auto t) {
    using T = decltype(t);
    if constexpr (!std::is_same_v<T, double>)
      resample_any<T>(name(args.kind), args.x, args.y, up, across);
  });
}

void resample_bwd_fast(const ResampleBwdArgs& args, void*, Stream) {
  const Axis up = backward_axis(args.kind, args.dx.dim(1), args.dy.dim(1));
  const Axis across = backward_axis(args.kind, args.dx.dim(2), args.dy.dim(2));
  dispatch_floating(args.dtype(), [&](auto t) {
    using T = decltype(t);
    if constexpr (!std::is_same_v<T, double>)
      resample_any<T>(name(args.kind), args.dy, args.dx, up, across);
  });
}

}  // namespace tiller
