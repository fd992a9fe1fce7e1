#pragma once
// How an operation is tested: every row, in every dtype that it supports, against the f64
// reference, with any number of threads; its reference gradient against numerical differences; its
// cost against a count.
#include <functional>
#include <map>

#include "runtime/parallel.h"
#include "tests/kernels/counted.h"
#include "tests/kernels/helpers.h"

namespace tiller::test {

/// Normal values rounded to `through`, stored as `dtype`.
inline Tensor input(const Shape& shape, DType dtype, DType through, unsigned seed, double scale = 1,
                    double offset = 0) {
  std::vector<double> values = doubles(randn(shape, DType::f64, seed, scale));
  for (double& v : values) v += offset;
  return tensor_of(doubles(tensor_of(values, shape, through)), shape, dtype);
}

/// A poisoned tensor, for outputs.
inline Tensor output(const Shape& shape, DType dtype) {
  Tensor t = Tensor::empty(shape, dtype);
  poison(t);
  return t;
}

/// Restores the number of threads.
class ThreadsGuard {
 public:
  ThreadsGuard() : before_(threads()) {}
  ~ThreadsGuard() { set_threads(before_); }
  ThreadsGuard(const ThreadsGuard&) = delete;
  ThreadsGuard& operator=(const ThreadsGuard&) = delete;

 private:
  int before_;
};

using Outputs = std::map<std::string, Tensor>;

/// The outputs of a freshly made call.
template <class Args, class Make, class Collect>
Outputs outputs_of(const Op<Args>& op, const Make& make, const Collect& collect, DType dtype,
                   DType through) {
  const Args args = make(dtype, through);
  check(args);
  run_here(op, args);
  return collect(args);
}

/// Runs every row in f32, f16 and bf16. `make(dtype, through)` builds the arguments with inputs
/// rounded to `through` and poisoned outputs; `collect(args)` names the outputs. f32 must be within
/// `tolerance` of the f64 reference. A half may be at most `factor` times as far from it as the
/// rounded f64 result of rounded inputs is. Every variation must
/// give the same bits.
template <class Args, class Make, class Collect>
void expect_rows_agree(const Op<Args>& op, const Make& make, const Collect& collect, double factor,
                       double tolerance = 1e-5) {
  Outputs exact;
  {
    ForceRows reference(std::string(op.name) + ":reference");
    exact = outputs_of<Args>(op, make, collect, DType::f64, DType::f64);
  }
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    SCOPED_TRACE(name(dtype));
    Outputs rounded;
    if (dtype != DType::f32) {
      ForceRows reference(std::string(op.name) + ":reference");
      rounded = outputs_of<Args>(op, make, collect, DType::f64, dtype);
    }
    const int rows = for_each_row(op, make(dtype, dtype), [&](const Row<Args>& row) {
      Outputs first;
      for (int variation = 0; variation < kVariations; ++variation) {
        if (variation > 0 && !varies(row.device, row.kind, dtype, variation)) break;
        const VariationGuard guard(row.device, variation);
        const Outputs got = outputs_of<Args>(op, make, collect, dtype, dtype);
        if (variation == 0) first = got;
        for (const auto& [key, tensor] : got) {
          SCOPED_TRACE(key);
          EXPECT_EQ(doubles(tensor), doubles(first.at(key))) << "variation " << variation;
          double limit = tolerance;
          if (dtype != DType::f32) {
            const Tensor baseline =
                tensor_of(doubles(rounded.at(key)), rounded.at(key).shape(), tensor.dtype());
            limit = std::max(tolerance, factor * relative_error(baseline, exact.at(key)));
          }
          EXPECT_LE(relative_error(tensor, exact.at(key)), limit);
        }
      }
    });
    EXPECT_GE(rows, 1);
  }
}

/// The reference row in f64 against central differences: `loss()` runs the forward on tensors that
/// the caller holds; `x` is one of them.
inline Tensor numerical_gradient(const Tensor& x, const std::function<double()>& loss,
                                 double h = 1e-5) {
  std::vector<double> gradient;
  for (std::int64_t r = 0; r < x.rows(); ++r)
    for (std::int64_t c = 0; c < x.cols(); ++c) {
      double& v = row_of<double>(x, r)[c];
      const double before = v;
      v = before + h;
      const double above = loss();
      v = before - h;
      const double below = loss();
      v = before;
      gradient.push_back((above - below) / (2 * h));
    }
  return tensor_of(gradient, x.shape(), DType::f64);
}

/// sum(w * y), the loss whose gradient with respect to y is w.
inline double weighted_sum(const Tensor& w, const Tensor& y) {
  const std::vector<double> a = doubles(w), b = doubles(y);
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// Runs `reference` (a template instantiated with Counted) on f64 arguments and compares its flops,
/// and the distinct elements that it touches in `tensors`, with cost(). `unwatched` are bytes read
/// from tensors that are not f64.
template <class Args, class Run>
void expect_cost(const Args& args, const Run& reference, const std::vector<Tensor>& tensors,
                 double unwatched = 0) {
  check(args);
  Counter counter;
  for (const Tensor& t : tensors) counter.watch(t);
  {
    const CountGuard guard(counter);
    reference(args);
  }
  const Cost expected = cost(args);
  EXPECT_EQ(counter.flops(), expected.flops);
  EXPECT_EQ(8.0 * static_cast<double>(counter.elements_read()) + unwatched, expected.bytes_read);
  EXPECT_EQ(8.0 * static_cast<double>(counter.elements_written()), expected.bytes_written);
}

/// The message of the error that f() throws, "" if it throws none.
template <class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace tiller::test
