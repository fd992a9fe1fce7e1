#include "kernels/gemm/moments.h"

#include <algorithm>

#include "runtime/parallel.h"

namespace tiller {

void row_moments(const float* values, std::int64_t stride, std::int64_t rows, std::int64_t width,
                 float* mean, float* m2) {
  std::fill_n(mean, width, 0.0f);
  std::fill_n(m2, width, 0.0f);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t k = 0; k < width; ++k) mean[k] += values[i * stride + k];
  for (std::int64_t k = 0; k < width; ++k) mean[k] /= static_cast<float>(rows);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t k = 0; k < width; ++k) {
      const float d = values[i * stride + k] - mean[k];
      m2[k] += d * d;
    }
}

void merge_moments(std::span<const Moments> phases, const Tensor& stats) {
  const std::int64_t columns = stats.dim(1);
  constexpr std::int64_t kStrip = 64;
  const std::int64_t strips = (columns + kStrip - 1) / kStrip;
  launch("merge_moments", stats.dim(0) * strips, [&](std::int64_t task) {
    const std::int64_t n = task / strips, begin = task % strips * kStrip;
    const std::int64_t end = std::min(begin + kStrip, columns);
    float mean[kStrip] = {}, m2[kStrip] = {};
    float count = 0;
    for (const Moments& phase : phases) {
      const auto parts = static_cast<std::int64_t>(phase.counts.size());
      for (std::int64_t part = 0; part < parts; ++part) {
        const float* from = phase.data + (n * parts + part) * 2 * phase.columns;
        const float more = phase.counts[static_cast<std::size_t>(part)];
        const float share = more / (count + more);
        for (std::int64_t k = begin; k < end; ++k) {
          const float d = from[k] - mean[k - begin];
          mean[k - begin] += d * share;
          m2[k - begin] += from[phase.columns + k] + d * d * (count * share);
        }
        count += more;
      }
    }
    float* to = static_cast<float*>(stats.raw()) + (n * columns + begin) * 2;
    for (std::int64_t k = 0; k < end - begin; ++k) {
      to[2 * k] = mean[k];
      to[2 * k + 1] = m2[k];
    }
  });
}

}  // namespace tiller
