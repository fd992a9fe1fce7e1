#pragma once
// Convolutions for the tests: a case in words, and its arguments filled with random numbers.
#include <string>

#include "kernels/conv2d/conv2d.h"
#include "tests/kernels/helpers.h"

namespace tiller::test {

struct ConvCase {
  std::string name;
  std::int64_t n = 1, h = 8, w = 8, c0 = 16, c1 = 0, k = 16, taps = 3;
  ConvGeometry geometry{1, 1, false};
  bool bias = true;
  int residual = 0;  ///< 0 none, 1 plain, 2 up-sampled
  std::int64_t skip0 = 0, skip1 = 0;
  bool stats = false;
  bool slices = false;  ///< every image is a channel slice of a wider tensor
};

/// For gtest's messages.
inline void PrintTo(const ConvCase& c, std::ostream* out) { *out << c.name; }

/// Rounds activations to dtype; parameters stay f32 (f64 with f64), like the networks'.
struct ConvMaker {
  const ConvCase& c;
  DType dtype;
  Tensor image(const Tensor& t) const { return c.slices ? as_slice(t) : t; }
  Tensor activation(const Shape& shape, unsigned seed) const {
    return image(randn(shape, dtype, seed));
  }
  Tensor parameter(const Shape& shape, unsigned seed, double scale = 1) const {
    return randn(shape, accumulate_dtype(dtype), seed, scale);
  }
  Tensor output(const Shape& shape) const {
    const Tensor t = image(Tensor::empty(shape, dtype));
    poison(t);
    return t;
  }
  std::int64_t p() const { return conv_out(c.h, c.taps, c.geometry); }
  std::int64_t q() const { return conv_out(c.w, c.taps, c.geometry); }
  Shape y() const { return {c.n, p(), q(), c.k}; }
  Shape weight() const { return {c.k, c.taps, c.taps, c.c0 + c.c1}; }
  double weight_scale() const {
    return 1 / std::sqrt(static_cast<double>(c.taps * c.taps * (c.c0 + c.c1)));
  }

  Conv2dFwdArgs fwd() const {
    Conv2dFwdArgs args;
    args.x0 = activation({c.n, c.h, c.w, c.c0}, 1);
    if (c.c1) args.x1 = activation({c.n, c.h, c.w, c.c1}, 2);
    args.w = parameter(weight(), 3, weight_scale());
    if (c.bias) args.bias = parameter({c.k}, 4);
    if (c.residual == 1) args.residual = activation(y(), 5);
    if (c.residual == 2) args.residual = activation({c.n, p() / 2, q() / 2, c.k}, 5);
    if (c.skip0) {
      args.skip0 = activation({c.n, p(), q(), c.skip0}, 6);
      args.skip_w = parameter({c.k, 1, 1, c.skip0 + c.skip1}, 7, 0.2);
      args.skip_bias = parameter({c.k}, 8);
    }
    if (c.skip1) args.skip1 = activation({c.n, p(), q(), c.skip1}, 9);
    args.y = output(y());
    if (c.stats) {
      args.stats = Tensor::empty({c.n, c.k, 2}, accumulate_dtype(dtype));
      poison(args.stats);
    }
    args.geometry = c.geometry;
    args.residual_up2x = c.residual == 2;
    return args;
  }
  Conv2dDgradArgs dgrad() const {
    Conv2dDgradArgs args;
    args.dy = activation(y(), 10);
    args.w = parameter(weight(), 3, weight_scale());
    args.dx0 = output({c.n, c.h, c.w, c.c0});
    if (c.c1) args.dx1 = output({c.n, c.h, c.w, c.c1});
    args.geometry = c.geometry;
    return args;
  }
  Conv2dWgradArgs wgrad() const {
    Conv2dWgradArgs args;
    args.x0 = activation({c.n, c.h, c.w, c.c0}, 1);
    if (c.c1) args.x1 = activation({c.n, c.h, c.w, c.c1}, 2);
    args.dy = activation(y(), 10);
    args.dw = Tensor::empty(weight(), accumulate_dtype(dtype));
    poison(args.dw);
    if (c.bias) {
      args.dbias = Tensor::empty({c.k}, accumulate_dtype(dtype));
      poison(args.dbias);
    }
    args.geometry = c.geometry;
    return args;
  }
};

/// Small members of the published networks' families, and ragged ones between them.
inline std::vector<ConvCase> conv_cases() {
  const ConvGeometry one{1, 0, false}, same{1, 1, false}, down{2, 1, false}, up{1, 1, true};
  // name, n, h, w, c0, c1, k, taps, geometry, bias, residual, skip0, skip1, stats, slices
  return {
      {"same", 1, 8, 8, 32, 0, 48, 3, same},
      {"same_no_bias", 2, 7, 5, 24, 0, 40, 3, same, false},
      {"one", 2, 6, 7, 32, 0, 64, 1, one},
      {"down", 2, 8, 6, 16, 0, 24, 3, down},
      {"down_odd", 1, 7, 9, 16, 0, 24, 3, down},
      {"up", 2, 4, 5, 24, 0, 32, 3, up},
      {"few_outputs", 2, 19, 7, 24, 0, 3, 3, same},
      {"few_inputs", 2, 19, 7, 3, 0, 24, 3, same},
      {"one_of_each", 1, 9, 4, 1, 0, 1, 3, same, false},
      {"two_sources", 1, 6, 6, 24, 16, 32, 3, same},
      {"two_odd_sources", 2, 5, 6, 13, 9, 19, 3, same},
      {"two_sources_up", 1, 3, 4, 12, 8, 20, 3, up},
      {"two_sources_one", 1, 6, 6, 24, 40, 32, 1, one},
      {"stem", 1, 9, 8, 3, 0, 32, 3, same},
      {"superres_stem", 1, 8, 8, 3, 3, 32, 3, same},
      {"head", 1, 8, 9, 32, 0, 6, 3, same},
      {"wide", 1, 5, 5, 70, 0, 136, 3, same},
      {"deep", 1, 3, 3, 600, 0, 20, 3, same},
      {"unpadded", 1, 7, 6, 8, 0, 8, 3, {1, 0, false}},
      {"wide_pad", 1, 5, 4, 8, 0, 8, 3, {1, 2, false}},
      {"five_taps", 1, 7, 6, 8, 0, 8, 5, {1, 2, false}},
      {"stride_three", 1, 10, 11, 8, 0, 8, 3, {3, 1, false}},
      {"one_down", 1, 8, 7, 8, 0, 8, 1, {2, 0, false}},
      {"up_down", 1, 4, 5, 8, 0, 8, 3, {2, 1, true}},
      {"up_one", 1, 4, 5, 8, 0, 8, 1, {1, 0, true}},
      {"one_pixel", 3, 1, 1, 40, 0, 24, 3, same},
      {"residual", 2, 5, 6, 16, 0, 24, 3, same, true, 1},
      {"residual_up", 2, 3, 4, 16, 0, 24, 3, up, true, 2},
      {"skip", 1, 6, 7, 24, 0, 32, 3, same, true, 0, 40},
      {"skip_two", 2, 5, 4, 24, 0, 32, 3, same, true, 0, 24, 13},
      {"stats", 2, 9, 10, 24, 0, 40, 3, same, true, 0, 0, 0, true},
      {"stats_tiles", 2, 8, 16, 24, 0, 40, 3, same, true, 1, 0, 0, true},
      {"stats_small_map", 3, 8, 8, 32, 0, 24, 1, one, true, 0, 24, 0, true},
      {"many_pixels", 3, 20, 20, 8, 0, 16, 3, same},
      {"everything", 2, 4, 5, 13, 11, 21, 3, up, true, 2, 17, 6, true},
      {"slices", 2, 5, 6, 16, 8, 24, 3, same, true, 1, 16, 8, true, true},
      {"slices_up", 2, 5, 6, 16, 8, 24, 3, up, true, 2, 0, 0, false, true},
      {"slices_down", 2, 8, 7, 16, 8, 24, 3, down, true, 0, 0, 0, false, true},
  };
}

}  // namespace tiller::test
