#pragma once
// The reference row of dropout, for the arithmetic types float, double and Counted.
#include <algorithm>

#include "kernels/dropout/dropout.h"
#include "kernels/reference.h"
#include "runtime/philox.h"

namespace tiller {

/// Philox's words for elements 4 group ... 4 group + 3 of entry n.
inline PhiloxWords dropout_words(const DropoutArgs& args, std::int64_t n, std::int64_t group) {
  const RandomKey& key = args.key;
  const std::uint32_t first = (args.layer << 24) + static_cast<std::uint32_t>(group);
  return philox({{first, key.sample + static_cast<std::uint32_t>(n), key.step,
                  static_cast<std::uint32_t>(key.stream)}},
                static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32));
}

/// What kept elements are multiplied with; with p = 1 none is kept.
inline double dropout_scale(const DropoutArgs& args) { return args.p < 1 ? 1 / (1 - args.p) : 0; }

template <class A>
void dropout_reference(const DropoutArgs& args) {
  const A scale = A(dropout_scale(args));
  const std::int64_t cols = args.x.cols();
  const std::int64_t per_entry =
      std::max<std::int64_t>(args.x.numel() == 0 ? 0 : args.x.numel() / args.x.dim(0), 1);
  for (std::int64_t r = 0; r < args.x.rows(); ++r)
    for (std::int64_t c = 0; c < cols; ++c) {
      const std::int64_t n = (r * cols + c) / per_entry, e = (r * cols + c) % per_entry;
      const PhiloxWords words = dropout_words(args, n, e / 4);
      const bool keep = static_cast<double>(uniform_of(words.v[e % 4])) >= args.p;
      const A scaled = load<A>(args.x, r, c) * scale;
      store<A>(args.y, r, c, keep ? scaled : A(0));
    }
}

}  // namespace tiller
