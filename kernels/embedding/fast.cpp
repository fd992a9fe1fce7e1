#include "kernels/embedding/fast.h"

#include "kernels/blocks.h"
#include "kernels/embedding/reference.h"
#include "kernels/simd.h"

namespace tiller {

namespace {
using V = f32x8;
}  // namespace

bool embedding_fwd_fast_supports(const EmbeddingFwdArgs& args) {
  return no_f64(args.table, args.addend, args.y);
}
bool embedding_bwd_fast_supports(const EmbeddingBwdArgs& args) {
  return no_f64(args.dy, args.dtable);
}
bool timestep_embedding_fast_supports(const TimestepEmbeddingArgs& args) {
  return no_f64(args.t, args.y);
}

void embedding_fwd_fast(const EmbeddingFwdArgs& args, void*, Stream) {
  const std::int64_t* index = args.index.data<std::int64_t>();  // [N]
  const std::int64_t cols = args.y.cols();
  launch("embedding", args.y.rows(), [&](std::int64_t row) {
    const float* from = row_of<const float>(args.table, index[row]);
    for (std::int64_t c = 0; c < cols; c += kBlockElements) {
      const std::int64_t n = std::min(kBlockElements, cols - c), e = row * cols + c;
      BlockBuffer in, out;
      float* y = block_target(args.y, e, out.data);
      if (args.addend) {
        const float* addend = read_block(args.addend, e, n, in.data);
        for (Step<V> s(n); s; s.next()) s.store(s.load(from + c) + s.load(addend), y);
      } else {
        std::copy_n(from + c, n, y);
      }
      write_block(args.y, e, n, y);
    }
  });
}

// A task owns a stripe of columns and walks all n in order, so that no sum is shared.
void embedding_bwd_fast(const EmbeddingBwdArgs& args, void*, Stream) {
  constexpr std::int64_t kStripe = 128;
  const std::int64_t* index = args.index.data<std::int64_t>();  // [N]
  const std::int64_t cols = args.dtable.cols();
  launch("embedding_bwd", (cols + kStripe - 1) / kStripe, [&](std::int64_t task) {
    const std::int64_t c = task * kStripe, n = std::min(kStripe, cols - c);
    for (std::int64_t v = 0; v < args.dtable.rows(); ++v)
      std::fill_n(row_of<float>(args.dtable, v) + c, n, 0.0f);
    for (std::int64_t row = 0; row < args.dy.rows(); ++row) {
      BlockBuffer in;
      const float* dy = read_block(args.dy, row * cols + c, n, in.data);
      float* sum = row_of<float>(args.dtable, index[row]) + c;
      for (Step<V> s(n); s; s.next()) s.store(s.load(sum) + s.load(dy), sum);
    }
  });
}

void timestep_embedding_fast(const TimestepEmbeddingArgs& args, void*, Stream) {
  const std::int64_t dim = args.y.cols(), half = dim / 2;
  const std::vector<float> frequency = timestep_frequencies<float>(args);  // [half]
  const float* t = args.t.data<float>();                                   // [N]
  launch("timestep_embedding", args.y.rows(), [&](std::int64_t n) {
    std::vector<float> row(static_cast<std::size_t>(dim));  // a zero column ends an odd row
    for (std::int64_t i = 0; i < half; ++i) {
      const float angle = t[n] * frequency[static_cast<std::size_t>(i)];
      row[static_cast<std::size_t>(i)] = std::cos(angle);
      row[static_cast<std::size_t>(half + i)] = std::sin(angle);
    }
    if (args.y.dtype() == DType::f32)  // write_block() takes f32 to be in place
      return static_cast<void>(std::copy_n(row.data(), dim, row_of<float>(args.y, n)));
    write_block(args.y, n * dim, dim, row.data());
  });
}

}  // namespace tiller
