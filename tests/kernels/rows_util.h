#pragma once
// One comparison for all rows of conv2d and linear.
#include "runtime/parallel.h"
#include "tests/kernels/helpers.h"

namespace tiller::test {

/// Replaces a tensor by its values in f64, dense.
inline void to_f64(Tensor& t) {
  if (t) t = tensor_of(doubles(t), t.shape(), DType::f64);
}

/// Rounds the values of an f64 tensor to dtype.
inline void round_to(Tensor& t, DType dtype) {
  if (t) t = tensor_of(doubles(tensor_of(doubles(t), t.shape(), dtype)), t.shape(), DType::f64);
}

/// Runs every row on make(dtype) and holds it against the f64 reference row on make(f64),
/// unrounded: within 1e-5 for f32, else within `factor` times the error of rounding the f64 result
/// of rounded inputs. The result may not depend on the number of threads (a peer may add in another
/// order). Outputs are poisoned before each run.
template <class Args, class Make, class Widen, class Round, class Outputs>
void expect_rows(const Op<Args>& op, DType dtype, double factor, const Make& make,
                 const Widen& widen, const Round& round_inputs, const Outputs& outputs) {
  Args exact = make(DType::f64);
  widen(exact);
  Args rounded = exact;
  {
    ForceRows force(std::string(op.name) + ":reference");
    run_here(op, exact);
  }
  const Args args = make(dtype);
  std::vector<double> allowed;
  std::vector<Tensor> want;
  for (const Tensor& t : outputs(exact)) want.push_back(t ? t.clone() : t);
  if (dtype == DType::f32) {
    allowed.assign(want.size(), 1e-5);
  } else {
    round_inputs(rounded, dtype);
    ForceRows force(std::string(op.name) + ":reference");
    run_here(op, rounded);  // into the same outputs as `exact`
    std::size_t i = 0;
    for (const Tensor& t : outputs(rounded)) {
      if (t) {
        const DType stored = outputs(args)[i].dtype();
        allowed.push_back(factor *
                          relative_error(tensor_of(doubles(t), t.shape(), stored), want[i]));
      } else {
        allowed.push_back(0);
      }
      ++i;
    }
  }
  const int rows = for_each_row(op, args, [&](const Row<Args>& row) {
    std::vector<std::vector<double>> first;
    for (int variation = 0; variation < kVariations; ++variation) {
      if (variation > 0 && !varies(row.device, row.kind, dtype, variation)) break;
      const VariationGuard guard(row.device, variation);
      for (const Tensor& t : outputs(args))
        if (t) poison(t);
      run_here(op, args);
      for (std::size_t i = 0; i < want.size(); ++i) {
        if (!want[i]) continue;
        const Tensor got = outputs(args)[i];
        if (variation == 0 || row.kind == RowKind::peer) {
          EXPECT_LE(relative_error(got, want[i]), allowed[i]) << "output " << i;
          first.push_back(doubles(got));
        } else {
          EXPECT_EQ(doubles(got), first[i]) << "output " << i << ", variation " << variation;
        }
      }
    }
  });
  EXPECT_GE(rows, 2);
}

}  // namespace tiller::test
