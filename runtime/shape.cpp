#include "runtime/shape.h"

#include <algorithm>

#include "runtime/error.h"

namespace tiller {

Shape::Shape(std::span<const std::int64_t> dims) {
  TILLER_CHECK(dims.size() <= kMaxRank, "a shape has at most {} dimensions, not {}", kMaxRank,
               dims.size());
  for (const std::int64_t n : dims)
    TILLER_CHECK(n >= 0, "shape {} has a negative dimension", to_string(dims));
  std::copy(dims.begin(), dims.end(), dims_.begin());
  rank_ = static_cast<int>(dims.size());
}

std::string to_string(std::span<const std::int64_t> dims) {
  return fmt::format("[{}]", fmt::join(dims, ","));
}

std::string to_string(const Shape& shape) { return to_string(shape.dims()); }

}  // namespace tiller
