#pragma once
#include <memory>
#include <string>

#include "autograd/ops.h"
#include "nn/config.h"
#include "nn/embedded.h"
#include "nn/scope.h"

namespace tiller {

/// guided-diffusion's UNetModel and SuperResModel (Dhariwal & Nichol 2021, section 3 and appendix
/// D).
class UNet {
 public:
  /// Builds the network and takes its parameters from `source`. Throws Error(usage) for a
  /// configuration that cannot be built, Error(checkpoint) for parameters that do not fit it.
  UNet(const UNetConfig& config, ParameterSource& source);
  ~UNet();
  UNet(UNet&&) noexcept;
  UNet& operator=(UNet&&) noexcept;

  /// Time and class embedding of a batch: t [N] f32 (as the network sees it; fractional allowed), y
  /// [N] i64 or none -> [N,4*model_channels]. Depends on no picture, so all steps' can be made at
  /// once.
  Var embed(const Tensor& t, const Tensor& y) const;
  /// What the emb_layers of all residual blocks make of embed()'s [N,E]: [N,block_features()]. Records
  /// nothing.
  Tensor embed_blocks(const Var& emb) const;
  std::int64_t block_features() const;
  /// x [N,H,W,C], emb from embed() or embed_blocks(), low_res [N,h,w,C] for super-resolution (any
  /// size; resized bilinearly), else none -> [N,H,W,out_channels] f32 (f64 with f64). H and W must be
  /// multiples of stride(). Throws Error naming the sizes otherwise.
  Var forward(const Var& x, const Embedded& emb, const Var& low_res = {}) const;
  /// forward(x, embed(t, y), low_res).
  Var operator()(const Var& x, const Tensor& t, const Tensor& y = {},
                 const Var& low_res = {}) const;

  const UNetConfig& config() const;
  const ParameterList& parameters() const;
  /// What H and W must be multiples of.
  std::int64_t stride() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tiller
