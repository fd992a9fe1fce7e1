#pragma once
// What the kernel tests share: random tensors, the relative error, rows walked one by one.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/reference.h"
#include "runtime/op.h"
#include "runtime/parallel.h"
#include "runtime/simt_order.h"
#include "tests/kernels/devices.h"

namespace tiller::test {

/// Any floating (or integer) host tensor as doubles, in row order.
inline std::vector<double> doubles(const Tensor& t) {
  std::vector<double> out;
  out.reserve(static_cast<std::size_t>(t.numel()));
  const auto gather = [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t r = 0; r < t.rows(); ++r)
      for (std::int64_t c = 0; c < t.cols(); ++c)
        out.push_back(static_cast<double>(row_of<const T>(t, r)[c]));
  };
  switch (t.dtype()) {
    case DType::i64:
      gather(std::int64_t{});
      break;
    case DType::i32:
      gather(std::int32_t{});
      break;
    case DType::u8:
      gather(std::uint8_t{});
      break;
    default:
      dispatch_floating(t.dtype(), gather);
  }
  return out;
}

/// A host tensor with the given values rounded to dtype.
inline Tensor tensor_of(const std::vector<double>& values, const Shape& shape, DType dtype) {
  Tensor t = Tensor::empty(shape, dtype);
  dispatch_floating(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (std::size_t i = 0; i < values.size(); ++i)
      t.data<T>()[i] =
          static_cast<T>(static_cast<std::conditional_t<sizeof(T) == 8, double, float>>(values[i]));
  });
  return t;
}

/// i.i.d. normal values, the same for every dtype up to rounding.
inline Tensor randn(const Shape& shape, DType dtype, unsigned seed, double scale = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, scale);
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (double& v : values) v = normal(generator);
  return tensor_of(values, shape, dtype);
}

/// A channel slice of a wider tensor filled with NaN, holding the values of `t`: catches kernels
/// that ignore the row stride or read and write beside their channels.
inline Tensor as_slice(const Tensor& t, std::int64_t before = 3, std::int64_t after = 5) {
  const Shape wide = t.shape().with(-1, t.cols() + before + after);
  Tensor big = tensor_of(std::vector<double>(static_cast<std::size_t>(wide.numel()), std::nan("")),
                         wide, t.dtype());
  Tensor slice = big.channels(before, before + t.cols());
  slice.copy_from(t);
  return slice;
}

/// Fills a tensor with NaN, so that an element which a kernel forgets to write is seen.
inline void poison(const Tensor& t) {
  dispatch_floating(t.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t r = 0; r < t.rows(); ++r)
      for (std::int64_t c = 0; c < t.cols(); ++c) row_of<T>(t, r)[c] = static_cast<T>(NAN);
  });
}

/// ||a - b|| / ||b||; NaN anywhere gives infinity.
inline double relative_error(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  const std::vector<double> x = doubles(a), y = doubles(b);
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    difference += (x[i] - y[i]) * (x[i] - y[i]);
    norm += y[i] * y[i];
  }
  const double error = norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
  return std::isfinite(error) ? error : INFINITY;
}

/// The device on which run_here() runs: cpu outside for_each_row().
inline DeviceType& device_here() {
  static thread_local DeviceType device = DeviceType::cpu;
  return device;
}

/// run(), on the device whose row for_each_row() is at; what has a reference row only is the CPU's.
template <class Args>
void run_here(const Op<Args>& op, const Args& args) {
  if (args.device() != kCpu || op_detail::forced_row(op.name) == "reference") return run(op, args);
  const Args moved = on_device(args, device_here());
  run(op, args.dtype() == DType::f64 && !find_row(op, moved) ? args : moved);
}

/// Ways of running that may not change a bit of the result: one, two and three threads on the CPU; on
/// simt a random order of the threads of a block, and descending.
inline constexpr int kVariations = 3;

/// Whether variation i > 0 is worth its time: a reference row is plain loops on one thread, and on
/// simt threads do the same in every dtype, and nothing together in a naive row.
inline bool varies(DeviceType device, RowKind kind, DType dtype, int i) {
  if (kind == RowKind::reference) return false;
  if (device == DeviceType::cpu) return true;
  return i == 1 && kind == RowKind::fast && dtype == DType::f32;
}

class VariationGuard {
 public:
  VariationGuard(DeviceType device, int i)
      : threads_(threads()),
        order_(device == DeviceType::simt && i > 0
                   ? executor::Order{executor::Order::Kind::descending, 0}
                   : executor::current_order()) {
    if (device == DeviceType::cpu) set_threads(i + 1);
  }
  ~VariationGuard() { set_threads(threads_); }
  VariationGuard(const VariationGuard&) = delete;
  VariationGuard& operator=(const VariationGuard&) = delete;

 private:
  int threads_;
  executor::OrderGuard order_;
};

/// Runs f(row) for every row of `op` that supports args, on every tested device, forced by name.
template <class Args, class F>
int for_each_row(const Op<Args>& op, const Args& args, const F& f) {
  int n = 0;
  for (const DeviceType device : tested_devices()) {
    device_here() = device;
    for (const Row<Args>& row : op.rows(device)) {
      if (row.math > op_detail::requested_math(args.dtype()) || !row.supports(args)) continue;
      SCOPED_TRACE(std::string(name(device)) + " " + op.name + ":" + row.name);
      ForceRows force(std::string(op.name) + ":" + row.name);
      f(row);
      ++n;
    }
  }
  device_here() = DeviceType::cpu;
  return n;
}

}  // namespace tiller::test
