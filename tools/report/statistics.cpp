#include "tools/report/statistics.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/parallel.h"

namespace tiller {

namespace {

constexpr std::int64_t kBlock = 1 << 16;  // values per task, which stay in the cache for two passes

// Two passes: the mean, then the squares about it. One pass of sums would lose the deviation of
// values far from zero.
template <class T>
Statistics scan(const T* values, std::int64_t count) {
  Statistics s;
  s.count = count;
  double sum = 0;
  bool first = true;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto v = static_cast<double>(values[i]);
    if (std::isnan(v)) {
      ++s.nan;
    } else if (std::isinf(v)) {
      ++s.infinite;
    } else {
      sum += v;
      s.min = first ? v : std::min(s.min, v);
      s.max = first ? v : std::max(s.max, v);
      first = false;
    }
  }
  if (s.finite() == 0) return s;
  s.mean = sum / static_cast<double>(s.finite());
  double squares = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const double d = static_cast<double>(values[i]) - s.mean;
    if (std::isfinite(d)) squares += d * d;
  }
  s.deviation = std::sqrt(squares / static_cast<double>(s.finite()));
  return s;
}

// f16 and bf16 have no conversion to double of their own.
template <class T>
Statistics scan_half(const T* values, std::int64_t count) {
  std::vector<float> floats(values, values + count);
  return scan(floats.data(), count);
}

Statistics scan_block(const Tensor& dense, std::int64_t begin, std::int64_t count) {
  const auto at = [&](const auto* base) { return base + begin; };
  const void* raw = dense.raw();
  switch (dense.dtype()) {
    case DType::f32:
      return scan(at(static_cast<const float*>(raw)), count);
    case DType::f64:
      return scan(at(static_cast<const double*>(raw)), count);
    case DType::f16:
      return scan_half(at(static_cast<const f16*>(raw)), count);
    case DType::bf16:
      return scan_half(at(static_cast<const bf16*>(raw)), count);
    case DType::i64:
      return scan(at(static_cast<const std::int64_t*>(raw)), count);
    case DType::i32:
      return scan(at(static_cast<const std::int32_t*>(raw)), count);
    case DType::i16:
      return scan(at(static_cast<const std::int16_t*>(raw)), count);
    case DType::i8:
      return scan(at(static_cast<const std::int8_t*>(raw)), count);
    case DType::u8:
    case DType::boolean:
      return scan(at(static_cast<const std::uint8_t*>(raw)), count);
  }
  return {};
}

}  // namespace

Statistics& Statistics::operator+=(const Statistics& other) {
  const auto a = static_cast<double>(finite()), b = static_cast<double>(other.finite());
  if (b > 0) {
    const double all = a + b, shift = other.mean - mean;
    min = a > 0 ? std::min(min, other.min) : other.min;
    max = a > 0 ? std::max(max, other.max) : other.max;
    const double squares = deviation * deviation * a + other.deviation * other.deviation * b +
                           shift * shift * a * b / all;
    mean += shift * b / all;
    deviation = std::sqrt(squares / all);
  }
  count += other.count;
  nan += other.nan;
  infinite += other.infinite;
  return *this;
}

Statistics statistics(const Tensor& host) {
  const Tensor dense = host.contiguous();
  const std::int64_t count = dense.numel(), blocks = (count + kBlock - 1) / kBlock;
  std::vector<Statistics> parts(static_cast<std::size_t>(blocks));
  launch("statistics", blocks, [&](std::int64_t i) {
    parts[static_cast<std::size_t>(i)] =
        scan_block(dense, i * kBlock, std::min(kBlock, count - i * kBlock));
  });
  Statistics total;
  for (const Statistics& part : parts) total += part;
  return total;
}

}  // namespace tiller
