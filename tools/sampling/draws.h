#pragma once
// Where a run's random numbers come from: --rng and --noise.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "diffusion/sampler.h"
#include "tools/sampling/classes.h"

namespace tiller {

/// The random numbers of a run, asked for batch by batch in order: first the labels, then the
/// noise.
class Draws {
 public:
  virtual ~Draws() = default;
  /// The classes of samples first .. first + n - 1.
  virtual std::vector<std::int64_t> labels(const ClassChoice& classes, std::int64_t first,
                                           std::int64_t n) = 0;
  /// The batch's draws, as GaussianDiffusion's samplers ask for them; valid until the next batch.
  virtual NoiseSource noise(std::int64_t first) = 0;
  /// The key of the steps' noise of samples from `first` on, where it is Philox's.
  virtual std::optional<StepNoise> step_noise(std::int64_t /*first*/) const { return {}; }
  /// Whether a last batch that is not full is computed in full and cut, because the numbers depend
  /// on the batch's size.
  virtual bool full_batches() const { return false; }
};

/// Philox keyed by seed and sample: the same samples at any batch size.
std::unique_ptr<Draws> philox_draws(std::uint64_t seed);

/// What PyTorch's CPU generator draws in guided-diffusion's scripts after manual_seed(seed) right
/// before their loop: per batch the labels (if they are random), the start, and noise at every
/// step, for [N,C,H,W].
std::unique_ptr<Draws> torch_cpu_draws(std::uint64_t seed);

/// The array `noise` [draws,N,C,H,W] of an npz. Classes that are random are Philox's. Throws
/// Error(checkpoint) for a file without it.
class NoiseFile : public Draws {
 public:
  explicit NoiseFile(const std::string& path, std::uint64_t seed);
  std::int64_t draws() const { return noise_.dim(0); }
  std::int64_t samples() const { return noise_.dim(1); }
  std::int64_t channels() const { return noise_.dim(2); }
  std::int64_t height() const { return noise_.dim(3); }
  std::int64_t width() const { return noise_.dim(4); }
  std::vector<std::int64_t> labels(const ClassChoice& classes, std::int64_t first,
                                   std::int64_t n) override;
  NoiseSource noise(std::int64_t first) override;

 private:
  Tensor noise_;  // [draws,N,C,H,W] f32
  std::uint64_t seed_;
};

}  // namespace tiller
