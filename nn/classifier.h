#pragma once
#include <memory>

#include "autograd/ops.h"
#include "nn/config.h"
#include "nn/embedded.h"
#include "nn/scope.h"

namespace tiller {

/// guided-diffusion's EncoderUNetModel: the UNet's encoder and a pool, giving class logits for a
/// noised picture (Dhariwal & Nichol 2021, section 4).
class Classifier {
 public:
  /// As UNet::UNet.
  Classifier(const ClassifierConfig& config, ParameterSource& source);
  ~Classifier();
  Classifier(Classifier&&) noexcept;
  Classifier& operator=(Classifier&&) noexcept;

  /// t [N] -> [N,4*model_channels].
  Var embed(const Tensor& t) const;
  /// As UNet::embed_blocks.
  Tensor embed_blocks(const Var& emb) const;
  std::int64_t block_features() const;
  /// x [N,H,W,C], emb from embed() or embed_blocks() -> logits [N,num_classes] f32 (f64 with f64).
  Var forward(const Var& x, const Embedded& emb) const;
  Var operator()(const Var& x, const Tensor& t) const;
  /// The logits with what the last layer makes them of: a picture as one vector.
  struct Reading {
    Var features;  // [N,F] f32; F is the channels of the last feature map, or 2048 (spatial pools)
    Var logits;    // [N,num_classes]
  };
  /// x [N,H,W,C], t [N].
  Reading read(const Var& x, const Tensor& t) const;

  /// The gradient that guides: d sum_n log p(y_n | x_n, t_n) / dx, [N,H,W,C] f32. Runs forward and
  /// the input gradient only; no weight gradient. `logits` receives the logits when not null.
  Tensor log_prob_gradient(const Tensor& x, const Tensor& t, const Tensor& y,
                           Tensor* logits = nullptr) const;
  /// The same with the embedding made ahead.
  Tensor log_prob_gradient(const Tensor& x, const Embedded& emb, const Tensor& y,
                           Tensor* logits = nullptr) const;

  const ClassifierConfig& config() const;
  const ParameterList& parameters() const;
  std::int64_t stride() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tiller
