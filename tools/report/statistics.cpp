#include "tools/report/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/files/checkpoint.h"

namespace tiller {

namespace {
// One pass; Welford's update keeps the deviation of values far from zero.
template <class T>
Statistics scan(const std::vector<T>& values) {
  Statistics s;
  s.count = static_cast<std::int64_t>(values.size());
  s.min = std::numeric_limits<double>::infinity();
  s.max = -s.min;
  std::int64_t finite = 0;
  double m2 = 0;
  for (const T value : values) {
    const auto v = static_cast<double>(value);
    if (std::isnan(v)) {
      ++s.nan;
    } else if (std::isinf(v)) {
      ++s.infinite;
    } else {
      ++finite;
      const double d = v - s.mean;
      s.mean += d / static_cast<double>(finite);
      m2 += d * (v - s.mean);
      s.min = std::min(s.min, v);
      s.max = std::max(s.max, v);
    }
  }
  if (finite == 0) s.min = s.max = 0;
  if (finite > 0) s.deviation = std::sqrt(m2 / static_cast<double>(finite));
  return s;
}
}  // namespace

Statistics statistics(const Tensor& host) {
  switch (host.dtype()) {
    case DType::f32:
      return scan(host.to_vector<float>());
    case DType::i64:
      return scan(host.to_vector<std::int64_t>());
    case DType::i32:
      return scan(host.to_vector<std::int32_t>());
    case DType::i16:
      return scan(host.to_vector<std::int16_t>());
    case DType::i8:
      return scan(host.to_vector<std::int8_t>());
    case DType::u8:
    case DType::boolean: {
      const Tensor dense = host.contiguous();
      const auto* bytes = static_cast<const std::uint8_t*>(dense.raw());
      return scan(std::vector<std::uint8_t>(bytes, bytes + dense.numel()));
    }
    default:
      return scan(cast_on_host(host, DType::f64).to_vector<double>());
  }
}

}  // namespace tiller
