#pragma once
#include "kernels/linear/linear.h"
#include "tests/kernels/helpers.h"

namespace tiller::test {

struct LinearCase {
  const char* name;
  Shape rows;
  std::int64_t c, k;
  bool bias = true, residual = false, silu = false, slices = false;
};

inline void PrintTo(const LinearCase& c, std::ostream* out) { *out << c.name; }

struct LinearMaker {
  const LinearCase& c;
  DType dtype;
  Shape with_columns(std::int64_t columns) const {
    std::vector<std::int64_t> dims(c.rows.begin(), c.rows.end());
    dims.push_back(columns);
    return Shape(dims);
  }
  Tensor activation(std::int64_t columns, unsigned seed) const {
    const Tensor t = randn(with_columns(columns), dtype, seed);
    return c.slices ? as_slice(t) : t;
  }
  Tensor output(std::int64_t columns) const {
    const Tensor t = activation(columns, 99);
    poison(t);
    return t;
  }
  Tensor wide(const Shape& shape, unsigned seed) const {
    return randn(shape, accumulate_dtype(dtype), seed,
                 shape.rank() == 2 ? 1 / std::sqrt(static_cast<double>(c.c)) : 1);
  }
  LinearFwdArgs fwd() const {
    LinearFwdArgs args;
    args.x = activation(c.c, 1);
    args.w = wide({c.k, c.c}, 2);
    if (c.bias) args.bias = wide({c.k}, 3);
    if (c.residual) args.residual = activation(c.k, 4);
    args.y = output(c.k);
    args.silu_input = c.silu;
    return args;
  }
  LinearDgradArgs dgrad() const { return {activation(c.k, 5), wide({c.k, c.c}, 2), output(c.c)}; }
  LinearWgradArgs wgrad() const {
    LinearWgradArgs args;
    args.x = activation(c.c, 1);
    args.dy = activation(c.k, 5);
    args.dw = wide({c.k, c.c}, 6);
    poison(args.dw);
    if (c.bias) {
      args.dbias = wide({c.k}, 7);
      poison(args.dbias);
    }
    args.silu_input = c.silu;
    return args;
  }
};

inline std::vector<LinearCase> linear_cases() {
  return {
      {"qkv", {2, 16}, 32, 96},
      {"projection", {2, 16}, 48, 48, true, true},
      {"no_bias", {3, 7}, 24, 40, false},
      {"embedding", {1}, 64, 128, true, false, true},
      {"embeddings", {5}, 33, 65, true, false, true},
      {"one_of_each", {1}, 1, 1},
      {"odd", {13}, 19, 23, true, true, true},
      {"deep", {9}, 700, 10},
      {"classes", {3}, 40, 1000},
      {"many_rows", {300}, 20, 17},
      {"batch", {16}, 40, 70, true, false, true},
      {"slices", {2, 9}, 32, 24, true, true, false, true},
      {"slices_silu", {7}, 32, 24, true, true, true, true},
      {"vector", {}, 12, 20},
  };
}

}  // namespace tiller::test
