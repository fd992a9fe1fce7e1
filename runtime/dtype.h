#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "runtime/half.h"

namespace tiller {

/// Element types. Kernels compute on f32, f16, bf16 and f64 and read indices from i64, i32 and u8;
/// the last three occur in files only.
enum class DType : std::uint8_t { f32, f16, bf16, f64, i64, i32, u8, i16, i8, boolean };

/// Bytes of one element.
std::size_t size_of(DType dtype);

/// Our name of a dtype: "f32", "bf16", "bool", ...
const char* name(DType dtype);

/// The dtype with our name, e.g. from a flag. Throws Error(usage) for any other text.
DType parse_dtype(std::string_view text);

bool is_floating(DType dtype);

/// The dtype in which a kernel on `dtype` accumulates and keeps statistics: f64 for f64, else f32.
inline DType accumulate_dtype(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

/// The dtype of a C++ element type.
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<f16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<std::int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<std::int16_t> {
  static constexpr DType value = DType::i16;
};
template <>
struct DTypeOf<std::int8_t> {
  static constexpr DType value = DType::i8;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::boolean;
};

}  // namespace tiller
