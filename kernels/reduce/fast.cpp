#include "kernels/reduce/fast.h"

#include <limits>
#include <vector>

#include "kernels/blocks.h"
#include "kernels/reference.h"
#include "kernels/simd.h"

// The tensor is seen as [outer, summed, inner] (view.h). `summed` is cut into chunks whose length
// depends on the shape alone; a task reduces chunks to partial results in the workspace, and these
// are combined pairwise. No step depends on the number of threads.

namespace tiller {

namespace {

using V = f32x8;

struct Chunks {
  ReduceView view;
  std::int64_t length, count;  // of a chunk along `summed`; of chunks per output
  explicit Chunks(const ReduceArgs& args) : view(reduce_view(args.over, args.x.shape())) {
    // Along columns a chunk is a run of rows: few enough to be exact, enough to pay for a partial.
    length = view.inner == 1
                 ? kTaskElements
                 : std::clamp<std::int64_t>(
                       4 * kTaskElements / std::max<std::int64_t>(view.inner, 1), 16, 256);
    count = (view.summed + length - 1) / length;
  }
};

// One of the reductions, on vectors: how a term is made and joined.
struct Sum {
  static constexpr float kStart = 0;
  [[gnu::always_inline]] static V term(V x) { return x; }
  template <class T>
  [[gnu::always_inline]] static T join(T a, T b) {
    return a + b;
  }
};
struct SumSquares : Sum {
  [[gnu::always_inline]] static V term(V x) { return x * x; }
};
struct SumAbs : Sum {
  [[gnu::always_inline]] static V term(V x) { return abs(x); }
};
struct Largest {
  static constexpr float kStart = -std::numeric_limits<float>::infinity();
  [[gnu::always_inline]] static V term(V x) { return x; }
  [[gnu::always_inline]] static V join(V a, V b) {  // NaN if either is
    return _mm256_blendv_ps(max(a, b).v, a.v, _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q));
  }
  static float join(float a, float b) { return b > a || b != b ? b : a; }
};

// All lanes of `v` joined, in a fixed order.
template <class R>
float fold(V v) {
  alignas(32) float lane[V::kWidth];
  v.store(lane);
  for (std::int64_t width = V::kWidth / 2; width > 0; width /= 2)
    for (std::int64_t i = 0; i < width; ++i) lane[i] = R::join(lane[i], lane[i + width]);
  return lane[0];
}

// At most kBlockElements contiguous elements: four vectors hide the latency of the addition.
template <class R, class T>
float reduce_block(const T* x, std::int64_t n) {
  V a(R::kStart), b = a, c = a, d = a;
  std::int64_t i = 0;
  for (; i + 4 * V::kWidth <= n; i += 4 * V::kWidth) {
    a = R::join(a, R::term(V::load(x + i)));
    b = R::join(b, R::term(V::load(x + i + V::kWidth)));
    c = R::join(c, R::term(V::load(x + i + 2 * V::kWidth)));
    d = R::join(d, R::term(V::load(x + i + 3 * V::kWidth)));
  }
  for (; i + V::kWidth <= n; i += V::kWidth) a = R::join(a, R::term(V::load(x + i)));
  float result = fold<R>(R::join(R::join(a, b), R::join(c, d)));
  for (; i < n; ++i) {
    alignas(32) float lane[V::kWidth];
    R::term(V(static_cast<float>(x[i]))).store(lane);
    result = R::join(result, lane[0]);
  }
  return result;
}

// n contiguous elements, block by block: short sums keep rounding errors small.
template <class R, class T>
float reduce_run(const T* x, std::int64_t n) {
  float result = R::kStart;
  for (std::int64_t i = 0; i < n; i += kBlockElements)
    result = R::join(result, reduce_block<R>(x + i, std::min(kBlockElements, n - i)));
  return result;
}

// Elements [e, e + n) of a dense tensor or a channel slice.
template <class R, class T>
float reduce_elements(const Tensor& x, std::int64_t e, std::int64_t n) {
  if (x.dense()) return reduce_run<R>(static_cast<const T*>(x.raw()) + e, n);
  const std::int64_t cols = x.cols();
  float result = R::kStart;
  for (std::int64_t row = e / cols, column = e % cols; n > 0; ++row, column = 0) {
    const std::int64_t run = std::min(n, cols - column);
    result = R::join(result, reduce_run<R>(row_of<const T>(x, row) + column, run));
    n -= run;
  }
  return result;
}

// partial[o, chunk] for inner == 1.
template <class R, class T>
void reduce_rows(const ReduceArgs& args, const Chunks& k, float* partial) {
  const std::int64_t items = k.view.outer * k.count;
  const std::int64_t item_size = std::min(k.length, k.view.summed);
  const std::int64_t per_task = std::max<std::int64_t>(1, kTaskElements / item_size);
  launch("reduce_rows", (items + per_task - 1) / per_task, [&](std::int64_t task) {
    const std::int64_t end = std::min(items, (task + 1) * per_task);
    for (std::int64_t item = task * per_task; item < end; ++item) {
      const std::int64_t o = item / k.count, m = item % k.count * k.length;
      partial[item] = reduce_elements<R, T>(args.x, o * k.view.summed + m,
                                            std::min(k.length, k.view.summed - m));
    }
  });
}

// partial[o, chunk, :] for inner > 1: rows of x are added into a row of partial results.
template <class R, class T>
void reduce_columns(const ReduceArgs& args, const Chunks& k, float* partial) {
  const std::int64_t channels = k.view.inner;
  launch("reduce_columns", k.view.outer * k.count, [&](std::int64_t item) {
    const std::int64_t o = item / k.count, m = item % k.count * k.length;
    const std::int64_t end = std::min(m + k.length, k.view.summed);
    float* sums = partial + item * channels;
    std::fill_n(sums, channels, R::kStart);
    std::int64_t row = m;
    for (; row + 4 <= end; row += 4) {  // four rows at a time: a quarter of the traffic to `sums`
      const T* x[4];
      for (int j = 0; j < 4; ++j) x[j] = row_of<const T>(args.x, o * k.view.summed + row + j);
      for (Step<V> s(channels); s; s.next()) {
        const V ab = R::join(R::term(s.load(x[0])), R::term(s.load(x[1])));
        const V cd = R::join(R::term(s.load(x[2])), R::term(s.load(x[3])));
        s.store(R::join(s.load(sums), R::join(ab, cd)), sums);
      }
    }
    for (; row < end; ++row) {
      const T* x = row_of<const T>(args.x, o * k.view.summed + row);
      for (Step<V> s(channels); s; s.next())
        s.store(R::join(s.load(sums), R::term(s.load(x))), sums);
    }
  });
}

// Joins the chunks of every output pairwise, in place, and stores. A task owns a stripe of
// neighbouring outputs: columns are joined vector by vector, never down a single column.
template <class R>
void combine(const ReduceArgs& args, const Chunks& k, float* partial) {
  constexpr std::int64_t kStripe = 256;
  const bool mean = args.kind == ReduceKind::mean || args.kind == ReduceKind::mean_squares;
  const auto divisor = static_cast<float>(k.view.summed);
  const auto store_output = [&](std::int64_t i, float value) {
    store<float>(args.y, i / args.y.cols(), i % args.y.cols(), mean ? value / divisor : value);
  };
  // With inner == 1 a stripe is a run of `outer`, else a run of `inner`.
  const bool columns = k.view.inner > 1;
  const std::int64_t along = columns ? k.view.inner : k.view.outer;
  const std::int64_t stripes = (along + kStripe - 1) / kStripe;
  launch("reduce_combine", (columns ? k.view.outer : 1) * stripes, [&](std::int64_t task) {
    const std::int64_t begin = task % stripes * kStripe, n = std::min(kStripe, along - begin);
    const std::int64_t o = task / stripes;
    if (k.count == 0) {
      for (std::int64_t i = 0; i < n; ++i) store_output(o * along + begin + i, R::kStart);
      return;
    }
    if (!columns) {
      for (std::int64_t i = begin; i < begin + n; ++i) {
        float* own = partial + i * k.count;
        for (std::int64_t width = 1; width < k.count; width *= 2)
          for (std::int64_t c = 0; c + width < k.count; c += 2 * width)
            own[c] = R::join(own[c], own[c + width]);
        store_output(i, own[0]);
      }
      return;
    }
    float* own = partial + o * k.count * along + begin;
    for (std::int64_t width = 1; width < k.count; width *= 2)
      for (std::int64_t c = 0; c + width < k.count; c += 2 * width) {
        float* to = own + c * along;
        const float* from = own + (c + width) * along;
        for (Step<V> s(n); s; s.next()) s.store(R::join(s.load(to), s.load(from)), to);
      }
    for (std::int64_t i = 0; i < n; ++i) store_output(o * along + begin + i, own[i]);
  });
}

template <class R>
void reduce_with(const ReduceArgs& args, float* partial) {
  const Chunks k(args);
  if (k.count > 0) {
    dispatch_floating(args.x.dtype(), [&](auto t) {
      using T = decltype(t);
      if constexpr (!std::is_same_v<T, double>) {
        k.view.inner == 1 ? reduce_rows<R, T>(args, k, partial)
                          : reduce_columns<R, T>(args, k, partial);
      }
    });
  }
  combine<R>(args, k, partial);
}

}  // namespace

bool reduce_fast_supports(const ReduceArgs& args) { return no_f64(args.x, args.y); }

std::size_t reduce_fast_workspace(const ReduceArgs& args) {
  const Chunks k(args);
  return static_cast<std::size_t>(k.view.outer * k.count * k.view.inner) * sizeof(float);
}

void reduce_fast(const ReduceArgs& args, void* workspace, Stream) {
  auto* partial = static_cast<float*>(workspace);
  switch (args.kind) {
    case ReduceKind::sum:
    case ReduceKind::mean:
      return reduce_with<Sum>(args, partial);
    case ReduceKind::sum_squares:
    case ReduceKind::mean_squares:
      return reduce_with<SumSquares>(args, partial);
    case ReduceKind::sum_abs:
      return reduce_with<SumAbs>(args, partial);
    case ReduceKind::max:
      return reduce_with<Largest>(args, partial);
  }
}

bool broadcast_to_fast_supports(const BroadcastToArgs& args) { return no_f64(args.x, args.y); }

void broadcast_to_fast(const BroadcastToArgs& args, void*, Stream) {
  const ReduceView view = reduce_view(args.over, args.y.shape());
  const V scale(static_cast<float>(args.scale));
  launch_blocks("broadcast_to", args.y.numel(), [&](std::int64_t e, std::int64_t n) {
    BlockBuffer in, out;
    const float* x = read_broadcast(args.x, view, e, n, in.data);
    float* y = block_target(args.y, e, out.data);
    for (Step<V> s(n); s; s.next()) s.store(s.load(x) * scale, y);
    write_block(args.y, e, n, y);
  });
}

}  // namespace tiller
