#pragma once
// The two networks as the callables that a sampler takes, with an eye on their numbers.
#include <cstdint>
#include <string>
#include <vector>

#include "diffusion/sampler.h"
#include "nn/classifier.h"
#include "nn/unet.h"

namespace tiller {

/// A batch's networks. Both callables count the sampler's steps, or follow its state, so one serves
/// one batch.
class Denoiser {
 public:
  /// `classifier` may be null: no guidance. All must outlive the denoiser.
  Denoiser(const UNet& unet, const Classifier* classifier, double scale,
           const GaussianDiffusion& diffusion);

  /// Where the networks are, and their inputs must be.
  Device device() const { return unet_.parameters().all().front().value.device(); }
  /// Starts a batch: labels [N] i64 where the networks take any, low_res [N,h,w,C] for
  /// super-resolution, both on the host. Makes the embeddings of all steps at once. A batch of the
  /// same size as the one before is put where that one was, for a captured step looks there; such a
  /// step goes on following its sampler's state.
  void start(std::int64_t n, const Tensor& labels, const Tensor& low_res = {});
  /// Looks up each step's embeddings by a sampler's state, on the device; with `on_device` the
  /// numbers are watched there, too, and nothing waits for them: ask numbers_are_finite() in the
  /// end. Until then the denoiser counts the steps and stops at the first that goes wrong.
  void follow(const Tensor& state, bool on_device);
  /// Whether all outputs since follow() were finite. Always true where each step was looked at.
  bool numbers_are_finite() const;
  /// The diffusion network.
  Model model();
  /// scale * d log p(y | x_t) / d x_t, or empty without guidance.
  Guide guide();
  /// Called before each network runs; may throw to stop.
  std::function<void()> on_network;
  /// What start() may make ahead for one network: all steps' scales and shifts, [steps*N,F] f32.
  /// Where they are more, each step makes its own.
  std::size_t most_table_bytes = std::size_t{256} << 20;

 private:
  Var predict(const Var& x, const Tensor& timestep);
  Tensor gradient(const Tensor& x, const Tensor& timestep) const;
  void make_embeddings(const Tensor& labels);
  /// A step's n rows of a table: of `step`, or of the one that the device's state names.
  Tensor of_step(const Tensor& table, std::int64_t step) const;
  Embedded unet_embedding() const;
  static void put(Tensor& into, const Tensor& value);
  void watch(const Tensor& x, const Tensor& sum) const;
  const UNet& unet_;
  const Classifier* classifier_;
  double scale_;
  const GaussianDiffusion& diffusion_;
  std::int64_t n_ = 0;
  std::int64_t step_ = 0;  // the one that runs, counting down
  Tensor labels_, low_res_;
  // For every step, made ahead; step s of the spaced process starts at row s*N.
  Tensor unet_blocks_, classifier_blocks_;  // [steps*N,F]: Embedded::blocks, where they are small
  Tensor embeddings_;                       // [steps*N,E]: of the UNet, where its F are too many
  Tensor state_;                            // [4] i64 of the sampler, or none
  Tensor unet_sum_, classifier_sum_;        // [] f32: 0, or NaN once an output was not finite
};

/// Whether every element of a floating tensor is finite.
bool all_finite(const Tensor& x);

}  // namespace tiller
