#pragma once
// What the reference rows share. A reference row is a function template over the storage type T,
// written as plain loops in <op>/reference.h. It computes in Acc<T>: double for double, float for
// all others. Tests instantiate the same template with Counted to prove cost().
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "runtime/tensor.h"

namespace tiller {

template <class T>
struct AccOf {
  using type = float;
};
template <>
struct AccOf<double> {
  using type = double;
};
/// The type in which a reference row computes on elements of type T.
template <class T>
using Acc = typename AccOf<T>::type;

/// Pointer to the first element of row `row` of a tensor of rows and columns. T is a storage type
/// of the tensor's element size (Counted stands in for double).
template <class T>
T* row_of(const Tensor& t, std::int64_t row) {
  return static_cast<T*>(t.raw()) + row * t.row_stride();
}

/// Calls f(T{}) with the C++ type of a floating dtype.
template <class F>
decltype(auto) dispatch_floating(DType dtype, const F& f) {
  switch (dtype) {
    case DType::f16:
      return f(f16{});
    case DType::bf16:
      return f(bf16{});
    case DType::f64:
      return f(double{});
    default:
      break;
  }
  TILLER_CHECK(dtype == DType::f32, "{} is not a floating dtype", name(dtype));
  return f(float{});
}

/// Element `column` of row `row` in the arithmetic type A (float, double or Counted), whatever the
/// tensor's dtype.
template <class A>
A load(const Tensor& t, std::int64_t row, std::int64_t column) {
  using F64 = std::conditional_t<std::is_same_v<A, float>, double, A>;
  switch (t.dtype()) {
    case DType::f32:
      return static_cast<A>(row_of<const float>(t, row)[column]);
    case DType::f16:
      return static_cast<A>(static_cast<float>(row_of<const f16>(t, row)[column]));
    case DType::bf16:
      return static_cast<A>(static_cast<float>(row_of<const bf16>(t, row)[column]));
    case DType::f64:
      return static_cast<A>(row_of<const F64>(t, row)[column]);
    case DType::i64:
      return static_cast<A>(row_of<const std::int64_t>(t, row)[column]);
    case DType::i32:
      return static_cast<A>(row_of<const std::int32_t>(t, row)[column]);
    case DType::i16:
      return static_cast<A>(row_of<const std::int16_t>(t, row)[column]);
    case DType::i8:
      return static_cast<A>(row_of<const std::int8_t>(t, row)[column]);
    case DType::u8:
    case DType::boolean:
      break;
  }
  return static_cast<A>(row_of<const std::uint8_t>(t, row)[column]);
}

/// Rounds `value` to the tensor's floating dtype and stores it.
template <class A>
void store(const Tensor& t, std::int64_t row, std::int64_t column, const A& value) {
  using F64 = std::conditional_t<std::is_same_v<A, float>, double, A>;
  switch (t.dtype()) {
    case DType::f64:
      row_of<F64>(t, row)[column] = value;
      break;
    case DType::f16:
      row_of<f16>(t, row)[column] = f16(static_cast<float>(value));
      break;
    case DType::bf16:
      row_of<bf16>(t, row)[column] = bf16(static_cast<float>(value));
      break;
    default:
      row_of<float>(t, row)[column] = static_cast<float>(value);
  }
}

}  // namespace tiller
