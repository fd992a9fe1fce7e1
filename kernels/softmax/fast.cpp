#include "kernels/softmax/fast.h"

#include <algorithm>

#include "kernels/reference.h"
#include "kernels/simd.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

using V = f32x8;

std::int64_t padded(std::int64_t k) { return (k + V::kWidth - 1) / V::kWidth * V::kWidth; }

std::size_t row_bytes(const Tensor& logits) {
  return static_cast<std::size_t>(threads() * padded(logits.cols())) * sizeof(float);
}

float* thread_row(void* workspace, const Tensor& logits) {
  return static_cast<float*>(workspace) + thread_index() * padded(logits.cols());
}

// Calls body(m) for every row, in tasks of about 16k elements.
template <class Body>
void launch_rows(const char* kernel, const Tensor& t, const Body& body) {
  const std::int64_t rows = t.rows();
  const std::int64_t each = std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, t.cols()));
  launch(kernel, (rows + each - 1) / each, [&](std::int64_t task) {
    for (std::int64_t m = task * each; m < std::min(rows, (task + 1) * each); ++m) body(m);
  });
}

template <class F>
void dispatch(DType dtype, const F& f) {
  if (dtype == DType::f16) return f(f16{});
  if (dtype == DType::bf16) return f(bf16{});
  f(float{});
}

struct Exponentials {
  float largest, sum;
};

// e = exp(x - max x), and zeros up to a whole vector.
template <class T>
Exponentials exponentials(const T* x, std::int64_t k, float* e) {
  std::fill(e + k, e + padded(k), -INFINITY);
  for_each_vector<V>(k, [&](auto at) { at.store(at.load(x), e); });
  V top(-INFINITY);
  for (std::int64_t i = 0; i < k; i += V::kWidth) top = max(top, V::load(e + i));
  const float largest_x = largest(top);
  V total(0.0f);
  for (std::int64_t i = 0; i < k; i += V::kWidth) {
    const V v = exp(V::load(e + i) - V(largest_x));
    v.store(e + i);
    total += v;
  }
  return {largest_x, sum(total)};
}

}  // namespace

std::size_t softmax_row_workspace(const SoftmaxFwdArgs& args) { return row_bytes(args.x); }
std::size_t softmax_row_workspace(const CrossEntropyFwdArgs& args) {
  return row_bytes(args.logits);
}
std::size_t softmax_row_workspace(const CrossEntropyBwdArgs& args) {
  return row_bytes(args.logits);
}

void softmax_fwd_fast(const SoftmaxFwdArgs& args, void* workspace, Stream) {
  const std::int64_t k = args.x.cols();
  dispatch(args.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch_rows("softmax_fwd", args.x, [&](std::int64_t m) {
      const T* x = row_of<const T>(args.x, m);
      T* y = row_of<T>(args.y, m);
      float* e = thread_row(workspace, args.x);
      const Exponentials row = exponentials(x, k, e);
      if (args.log) {
        // Largest first: it may be so large that adding log(sum) to it would round the sum away.
        const V top(row.largest), log_sum(std::log(row.sum));
        for_each_vector<V>(k, [&](auto at) { at.store((at.load(x) - top) - log_sum, y); });
      } else {
        const V scale(1 / row.sum);
        for_each_vector<V>(k, [&](auto at) { at.store(at.load(e) * scale, y); });
      }
    });
  });
}

void softmax_bwd_fast(const SoftmaxBwdArgs& args, void*, Stream) {
  const std::int64_t k = args.y.cols();
  dispatch(args.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch_rows("softmax_bwd", args.y, [&](std::int64_t m) {
      const T* y = row_of<const T>(args.y, m);
      const T* dy = row_of<const T>(args.dy, m);
      T* dx = row_of<T>(args.dx, m);
      V total(0.0f);  // of dy y, or of dy
      if (args.log) {
        for_each_vector<V>(k, [&](auto at) { total += at.load(dy); });
        const V s(sum(total));
        for_each_vector<V>(k,
                           [&](auto at) { at.store(fnma(exp(at.load(y)), s, at.load(dy)), dx); });
      } else {
        for_each_vector<V>(k, [&](auto at) { total = fma(at.load(dy), at.load(y), total); });
        const V s(sum(total));
        for_each_vector<V>(k, [&](auto at) { at.store(at.load(y) * (at.load(dy) - s), dx); });
      }
    });
  });
}

void cross_entropy_fwd_fast(const CrossEntropyFwdArgs& args, void* workspace, Stream) {
  const auto* labels = args.labels.data<std::int64_t>();
  auto* loss = args.loss.data<float>();
  dispatch(args.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch_rows("cross_entropy_fwd", args.logits, [&](std::int64_t m) {
      const T* x = row_of<const T>(args.logits, m);
      const Exponentials row =
          exponentials(x, args.logits.cols(), thread_row(workspace, args.logits));
      loss[m] = (row.largest - static_cast<float>(x[labels[m]])) + std::log(row.sum);
    });
  });
}

void cross_entropy_bwd_fast(const CrossEntropyBwdArgs& args, void* workspace, Stream) {
  const auto* labels = args.labels.data<std::int64_t>();
  const auto* dloss = args.dloss.data<float>();
  const std::int64_t k = args.logits.cols();
  dispatch(args.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch_rows("cross_entropy_bwd", args.logits, [&](std::int64_t m) {
      float* e = thread_row(workspace, args.logits);
      const float total = exponentials(row_of<const T>(args.logits, m), k, e).sum;
      e[labels[m]] -= total;  // before the division by total: p - 1
      const V scale(dloss[m] / total);
      T* dx = row_of<T>(args.dlogits, m);
      for_each_vector<V>(k, [&](auto at) { at.store(at.load(e) * scale, dx); });
    });
  });
}

}  // namespace tiller
