#pragma once
// The layers that hold parameters. Each has the names of its PyTorch twin; forward() computes what
// the twin computes. fused() does more in the same kernel (an activation, a residual, a second
// source), so it opens the trace's scope but shows no output to an ActivationObserver.
#include "nn/module.h"
#include "nn/scope.h"

namespace tiller {

/// How a layer's weights start: PyTorch's default, or zero (guided-diffusion's zero_module).
enum class Start : std::uint8_t { standard, zero };

/// nn.Conv2d, square kernel, padded to keep the size at stride 1.
class Conv2d : public Module<Conv2d> {
 public:
  struct Geometry {
    std::int64_t kernel = 3;
    int stride = 1;
    bool up2x = false;  ///< reads its input through a nearest-neighbour 2x up-sampling
  };
  Conv2d(const Scope& scope, std::int64_t in, std::int64_t out, Geometry geometry,
         Start start = Start::standard);
  /// x [N,H,W,C0], x1 [N,H,W,C1] or none (concatenated behind x) -> [N,P,Q,K], with statistics for
  /// the group norm that follows.
  Activation forward(const Var& x, const Var& x1 = {}) const;
  /// `options.geometry` is filled in here.
  Activation fused(const Var& x, ConvOptions options) const;
  const Tensor& weight() const { return weight_; }  // [K,R,S,C]
  const Tensor& bias() const { return bias_; }      // [K]

 private:
  ConvGeometry geometry_;
  Tensor weight_, bias_;
};

class GroupNorm;

/// nn.Linear; with FileLayout::conv1d, a 1-d convolution of width one over tokens.
class Linear : public Module<Linear> {
 public:
  Linear(const Scope& scope, std::int64_t in, std::int64_t out,
         FileLayout layout = FileLayout::same, Start start = Start::standard);
  /// x [...,C] -> [...,K].
  Var forward(const Var& x) const;
  /// silu_input: w silu(x) + b. residual [...,K] or none.
  Var fused(const Var& x, bool silu_input, const Var& residual = {}) const;
  /// The layer behind `norm`: x [N,...,C] -> [N,...,K], in one kernel where normed_linear() has one
  /// and no ActivationObserver wants to see what the norm gives.
  Var after(const GroupNorm& norm, const Activation& x) const;

 private:
  Tensor weight_;  // [K,C]
  Tensor bias_;    // [K]
};

/// GroupNorm32: 32 groups, eps 1e-5, statistics in f32.
class GroupNorm : public Module<GroupNorm> {
 public:
  GroupNorm(const Scope& scope, std::int64_t channels);
  /// x [N,H,W,C] or [N,T,C] -> the same shape.
  Var forward(const Activation& x) const;
  /// Over x0 and x1 (or none) as if they were concatenated.
  Var fused(const Activation& x0, const Activation& x1, const GroupNormOptions& options) const;
  const Tensor& weight() const { return weight_; }  // [C]
  const Tensor& bias() const { return bias_; }      // [C]

 private:
  Tensor weight_, bias_;  // [C]
};

/// nn.Embedding, added to something.
class Embedding : public Module<Embedding> {
 public:
  Embedding(const Scope& scope, std::int64_t count, std::int64_t width);
  /// index [N] i64, addend [N,C] -> addend + weight[index].
  Var fused(const Tensor& index, const Var& addend) const;

 private:
  Tensor weight_;  // [V,C]
};

}  // namespace tiller
