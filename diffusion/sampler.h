#pragma once
// Samplers, one step at a time. Each step is one function that reads like its algorithm; Sampler
// walks them from noise to picture and yields every step.
#include <cstdint>
#include <functional>
#include <optional>

#include "diffusion/gaussian_diffusion.h"
#include "runtime/graph.h"

namespace tiller {

/// The noise of one draw for the whole batch, f32 [N,H,W,C]. Draw 0 is the start, draw 1 the first
/// step's, and so on; called once per step, in order, also where the noise is not used.
using NoiseSource = std::function<Tensor(std::int64_t draw, const Shape& shape)>;

/// Philox noise of samples first_sample .. first_sample + N - 1: the same for any batch size.
NoiseSource philox_noise(std::uint64_t seed, std::uint32_t first_sample);

/// Philox noise that the fused step draws itself, where it is: the numbers of philox_noise()
/// without their way through memory.
struct StepNoise {
  std::uint64_t seed = 0;
  std::uint32_t first_sample = 0;
};

struct SampleOptions {
  bool ddim = false;
  double eta = 0;  ///< DDIM: 0 deterministic, 1 as noisy as DDPM (Song et al. 2020, eq. 16)
  bool clip = true;
  DenoisedFn denoised_fn{};
  bool fused = true;  ///< use the fused step kernel where it can (no denoised_fn)
  /// Capture a fused step once and replay it, on a device that can. Model and guide may then do
  /// nothing but launch work on the device, the same at every step, and outputs of a step are
  /// overwritten by the next. The step at which they stand is Sampler::state().
  bool graph = false;
  std::optional<StepNoise>
      step_noise{};  ///< with `graph`: instead of the NoiseSource, after draw 0
};

/// What one step gives. With SampleOptions::graph valid until the next step.
struct StepOutput {
  std::int64_t step;  ///< index into the spaced process: counts down to 0
  Tensor sample;      ///< x_{t-1}
  Tensor x_start;     ///< predicted x_0 (DDPM: before guidance, DDIM: after)
  Tensor gradient;    ///< the guide's, or none
};

/// x_{t-1} by ancestral sampling (Ho et al. 2020, Algorithm 2), guided by Algorithm 1 of Dhariwal &
/// Nichol 2021 when `gradient` is given. No noise is added at step 0.
StepOutput ddpm_step(const GaussianDiffusion& diffusion, const Tensor& model_output,
                     const Tensor& x_t, std::int64_t step, const Tensor& gradient,
                     const Tensor& noise, const SampleOptions& options);

/// x_{t-1} by DDIM (Song et al. 2020, eq. 12), guided by Algorithm 2 when `gradient` is given.
StepOutput ddim_step(const GaussianDiffusion& diffusion, const Tensor& model_output,
                     const Tensor& x_t, std::int64_t step, const Tensor& gradient,
                     const Tensor& noise, const SampleOptions& options);

/// x_{t+1} from x_t: DDIM's ordinary differential equation run backwards, from picture to noise
/// (Song et al. 2020, section 4.3). Called for step 0, 1, ... Throws Error unless eta is 0.
StepOutput ddim_reverse_step(const GaussianDiffusion& diffusion, const Tensor& model_output,
                             const Tensor& x_t, std::int64_t step, const SampleOptions& options);

/// From x_T to x_0. `while (!sampler.done()) use(sampler.next());`
class Sampler {
 public:
  /// `guide` may be empty. Takes draw 0 from `noise` unless `start` is given. Throws Error(usage)
  /// for an eta outside [0, 1]. `diffusion` must outlive the sampler.
  Sampler(const GaussianDiffusion& diffusion, Model model, Guide guide, SampleOptions options,
          const Shape& shape, NoiseSource noise, const Tensor& start = {});
  bool done() const { return step_ < 0; }
  StepOutput next();
  /// Starts over, with other noise and the same captured step: for the next batch of the same size.
  /// Only with SampleOptions::graph.
  void restart(NoiseSource noise, std::optional<StepNoise> step_noise);
  const Tensor& sample() const { return x_; }
  /// [4] i64 on the device, of which the first is the step that runs now or next: what a model
  /// looks up its embeddings by. None where steps are not fused.
  const Tensor& state() const { return state_; }
  /// The captured step, for tests and reports.
  const StepGraph& graph() const { return graph_; }

 private:
  Tensor first_state() const;
  StepOutput graph_step();
  void device_step();
  void fused_step(const Tensor& output, const Tensor& gradient, const Tensor& noise,
                  const StepOutput& out);
  const GaussianDiffusion& diffusion_;
  Model model_;
  Guide guide_;
  SampleOptions options_;
  NoiseSource noise_;
  Tensor x_;      // [N,H,W,C]
  Tensor table_;  // [steps,kStepScalars]: see kernels/sampler_step/sampler_step.h
  Tensor state_;  // [4] i64
  std::int64_t step_;
  std::int64_t draw_ = 1;
  StepGraph graph_;
  Tensor timesteps_;             // [steps,N]: what the networks see at each step
  Tensor x_start_, step_noise_;  // [N,H,W,C]
  Tensor gradient_;              // [N,H,W,C], the last step's
};

/// The fused step's coefficient table for a process: f32 [steps,kStepScalars].
Tensor step_table(const GaussianDiffusion& diffusion, double eta);

}  // namespace tiller
