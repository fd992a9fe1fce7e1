#pragma once
// The reference rows of pool_tokens: the readable specification, for every floating T.
#include "kernels/pool_tokens/pool_tokens.h"
#include "kernels/reference.h"

namespace tiller {

template <class T>
void pool_tokens_fwd_reference(const PoolTokensFwdArgs& args) {
  using A = Acc<T>;
  const std::int64_t tokens = args.x.dim(1);
  const std::int64_t channels = args.x.dim(2);
  for (std::int64_t n = 0; n < args.x.dim(0); ++n)
    for (std::int64_t c = 0; c < channels; ++c) {
      A sum = 0;
      for (std::int64_t t = 0; t < tokens; ++t) {
        const A x = static_cast<A>(row_of<const T>(args.x, n * tokens + t)[c]);
        sum += x;
        row_of<T>(args.y, n * (1 + tokens) + 1 + t)[c] =
            static_cast<T>(x + row_of<const A>(args.pos, 1 + t)[c]);
      }
      row_of<T>(args.y, n * (1 + tokens))[c] =
          static_cast<T>(sum / A(static_cast<double>(tokens)) + row_of<const A>(args.pos, 0)[c]);
    }
}

template <class T>
void pool_tokens_bwd_reference(const PoolTokensBwdArgs& args) {
  using A = Acc<T>;
  const std::int64_t samples = args.dy.dim(0);
  const std::int64_t tokens = args.dy.dim(1) - 1;
  const std::int64_t channels = args.dy.dim(2);
  if (args.dx)
    for (std::int64_t n = 0; n < samples; ++n)
      for (std::int64_t c = 0; c < channels; ++c) {
        const A mean = static_cast<A>(row_of<const T>(args.dy, n * (1 + tokens))[c]) /
                       A(static_cast<double>(tokens));
        for (std::int64_t t = 0; t < tokens; ++t) {
          const A dy = static_cast<A>(row_of<const T>(args.dy, n * (1 + tokens) + 1 + t)[c]);
          row_of<T>(args.dx, n * tokens + t)[c] = static_cast<T>(dy + mean);
        }
      }
  if (args.dpos)
    for (std::int64_t t = 0; t < 1 + tokens; ++t)
      for (std::int64_t c = 0; c < channels; ++c) {
        A sum = 0;
        for (std::int64_t n = 0; n < samples; ++n)
          sum += static_cast<A>(row_of<const T>(args.dy, n * (1 + tokens) + t)[c]);
        row_of<A>(args.dpos, t)[c] = sum;
      }
}

}  // namespace tiller
