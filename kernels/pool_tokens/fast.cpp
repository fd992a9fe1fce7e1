#include "kernels/pool_tokens/fast.h"

#include <algorithm>

#include "kernels/reference.h"
#include "kernels/simd.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

using V = f32x8;
constexpr std::int64_t kStripe = 128;  // channels of a task

template <class F>
void dispatch(DType dtype, const F& f) {
  if (dtype == DType::f16) return f(f16{});
  if (dtype == DType::bf16) return f(bf16{});
  f(float{});
}

// Calls body(n, first channel, channels) for every stripe of every sample.
template <class Body>
void launch_stripes(const char* kernel, std::int64_t samples, std::int64_t channels,
                    const Body& body) {
  const std::int64_t stripes = (channels + kStripe - 1) / kStripe;
  launch(kernel, samples * stripes, [&](std::int64_t task) {
    const std::int64_t c = task % stripes * kStripe;
    body(task / stripes, c, std::min(kStripe, channels - c));
  });
}

template <class T>
void fwd(const PoolTokensFwdArgs& args) {
  const std::int64_t tokens = args.x.dim(1);
  launch_stripes("pool_tokens_fwd", args.x.dim(0), args.x.dim(2),
                 [&](std::int64_t n, std::int64_t c, std::int64_t count) {
                   float sum[kStripe] = {};
                   for (std::int64_t t = 0; t < tokens; ++t) {
                     const T* x = row_of<const T>(args.x, n * tokens + t) + c;
                     const float* pos = row_of<const float>(args.pos, 1 + t) + c;
                     T* y = row_of<T>(args.y, n * (1 + tokens) + 1 + t) + c;
                     for_each_vector<V>(count, [&](auto at) {
                       const V v = at.load(x);
                       at.store(at.load(sum) + v, sum);
                       at.store(v + at.load(pos), y);
                     });
                   }
                   const V scale(1 / static_cast<float>(tokens));
                   const float* pos = row_of<const float>(args.pos, 0) + c;
                   T* y = row_of<T>(args.y, n * (1 + tokens)) + c;
                   for_each_vector<V>(count, [&](auto at) {
                     at.store(fma(at.load(sum), scale, at.load(pos)), y);
                   });
                 });
}

template <class T>
void bwd_x(const PoolTokensBwdArgs& args) {
  const std::int64_t tokens = args.dy.dim(1) - 1;
  launch_stripes(
      "pool_tokens_bwd_dx", args.dy.dim(0), args.dy.dim(2),
      [&](std::int64_t n, std::int64_t c, std::int64_t count) {
        float mean[kStripe];  // what the mean token passes to every token
        const V scale(1 / static_cast<float>(tokens));
        const T* dmean = row_of<const T>(args.dy, n * (1 + tokens)) + c;
        for_each_vector<V>(count, [&](auto at) { at.store(at.load(dmean) * scale, mean); });
        for (std::int64_t t = 0; t < tokens; ++t) {
          const T* dy = row_of<const T>(args.dy, n * (1 + tokens) + 1 + t) + c;
          T* dx = row_of<T>(args.dx, n * tokens + t) + c;
          for_each_vector<V>(count, [&](auto at) { at.store(at.load(dy) + at.load(mean), dx); });
        }
      });
}

template <class T>
void bwd_pos(const PoolTokensBwdArgs& args) {
  const std::int64_t rows = args.dy.dim(1);
  launch("pool_tokens_bwd_dpos", rows, [&](std::int64_t t) {
    float* dpos = row_of<float>(args.dpos, t);
    std::fill_n(dpos, args.dpos.cols(), 0.0f);
    for (std::int64_t n = 0; n < args.dy.dim(0); ++n) {
      const T* dy = row_of<const T>(args.dy, n * rows + t);
      for_each_vector<V>(args.dpos.cols(),
                         [&](auto at) { at.store(at.load(dpos) + at.load(dy), dpos); });
    }
  });
}

}  // namespace

void pool_tokens_fwd_fast(const PoolTokensFwdArgs& args, void*, Stream) {
  dispatch(args.dtype(), [&](auto zero) { fwd<decltype(zero)>(args); });
}

void pool_tokens_bwd_fast(const PoolTokensBwdArgs& args, void*, Stream) {
  dispatch(args.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (args.dx) bwd_x<T>(args);
    if (args.dpos) bwd_pos<T>(args);
  });
}

}  // namespace tiller
