#include <bit>
#include <cmath>
#include <type_traits>

#include "runtime/files/checkpoint.h"

namespace tiller {

namespace {

template <class F>
auto with_float_type(DType dtype, const F& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::f16:
      return f(f16{});
    case DType::bf16:
      return f(bf16{});
    default:
      fail(ErrorKind::failed, fmt::format("cast: {} is no floating-point type", name(dtype)));
  }
}

// f64 to a half type through f32 would round twice. An f32 that is rounded to odd (a set last bit
// marks everything lost) rounds to the half that the f64 itself would round to.
float round_to_odd(double x) {
  const auto nearest = static_cast<float>(x);
  if (!(static_cast<double>(nearest) != x)) return nearest;  // exact, or NaN
  auto bits = std::bit_cast<std::uint32_t>(nearest);
  if ((bits & 0x7FFFFFFFu) == 0x7F800000u) return nearest;           // infinite
  if (std::abs(static_cast<double>(nearest)) > std::abs(x)) --bits;  // toward zero
  return std::bit_cast<float>(bits | 1u);
}

template <class To, class From>
To convert(From x) {
  if constexpr (std::is_same_v<To, double>) {
    if constexpr (std::is_same_v<From, double>)
      return x;
    else
      return static_cast<double>(static_cast<float>(x));
  } else if constexpr (std::is_same_v<From, double> && !std::is_same_v<To, float>) {
    return To(round_to_odd(x));
  } else {
    return static_cast<To>(static_cast<float>(x));
  }
}

}  // namespace

Tensor cast_on_host(const Tensor& tensor, DType dtype) {
  TILLER_CHECK(tensor.device() == kCpu, "cast_on_host: {} is not on the host", to_string(tensor));
  if (tensor.dtype() == dtype) return tensor;
  const Tensor dense = tensor.contiguous();
  Tensor result = Tensor::empty(dense.shape(), dtype);
  const std::int64_t count = dense.numel();
  with_float_type(dense.dtype(), [&](auto from) {
    with_float_type(dtype, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      const From* source = dense.data<From>();
      To* target = result.data<To>();
      for (std::int64_t i = 0; i < count; ++i) target[i] = convert<To>(source[i]);
    });
  });
  return result;
}

}  // namespace tiller
