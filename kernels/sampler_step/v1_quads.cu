// The sampler's step, v1_quads.
//
// math      x_0 from x_t and the network's output; DDPM (algorithm 1): the posterior's mean, moved
//           by variance * gradient, plus noise; DDIM (algorithm 2): eps moved by the gradient, then
//           eq. 12 of Song et al. 2020. Element by element: kernels/sampler_step/reference.h
// shapes    x [N,H,W,C], the network's output [N,H,W,C] or [N,H,W,2C]
// mapping   Philox makes four numbers, so a thread takes four neighbouring elements of a sample.
//           The step's scalars are read from the table by every thread: all hit the same cache
//           line. A second launch of one thread advances the state, when all have read it
// traffic   x, model (2x), gradient read, y written: 5 N H W C elements of 4 bytes; noise none
// roofline  launch latency: 0.25 MB a sample at 64x64
// delta     the first row
// limits    f32; no host value changes from step to step, so a CUDA graph can replay it
#include "kernels/sampler_step/kernels.h"
#include "kernels/view.cuh"
#include "runtime/philox.h"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__device__ __forceinline__ float clamp_unit(float x) {  // NaN stays NaN
  return x < -1.0f ? -1.0f : x > 1.0f ? 1.0f : x;
}

__device__ __forceinline__ float predict_x_start(const SamplerStepParams& p, const StepScalars& s,
                                                 float x, float out) {
  float x_start = out;
  if (p.mean == MeanKind::epsilon)
    x_start = s.sqrt_recip_alphas_cumprod * x - s.sqrt_recipm1_alphas_cumprod * out;
  if (p.mean == MeanKind::previous_x)
    x_start = s.previous_x_recip_coef1 * out - s.previous_x_coef2_by_coef1 * x;
  return p.clip ? clamp_unit(x_start) : x_start;
}

// What one step derives from its scalars, rounded once.
struct Derived {
  float fixed_deviation, sqrt_prev, direction;
};

__device__ __forceinline__ Derived derive(const StepScalars& s) {
  const double prev = s.alphas_cumprod_prev, sigma = s.sigma;
  const double rest = 1.0 - prev - sigma * sigma;
  return {static_cast<float>(exp(0.5 * static_cast<double>(s.log_variance_min))),
          static_cast<float>(sqrt(prev)), static_cast<float>(sqrt(rest > 0.0 ? rest : 0.0))};
}

struct Element {
  float x, out, v, gradient, noise;
  bool guided, noisy;
};

__device__ __forceinline__ float ddpm(const SamplerStepParams& p, const StepScalars& s,
                                      const Derived& d, const Element& e, float& x_start) {
  x_start = predict_x_start(p, s, e.x, e.out);
  float mean = p.mean == MeanKind::previous_x
                   ? e.out
                   : s.posterior_mean_coef1 * x_start + s.posterior_mean_coef2 * e.x;
  float log_variance = 0.0f;
  if (p.variance == VarianceKind::learned) log_variance = e.v;
  if (p.variance == VarianceKind::learned_range) {
    const float fraction = (e.v + 1.0f) * 0.5f;
    log_variance = fraction * s.log_variance_max + (1.0f - fraction) * s.log_variance_min;
  }
  const bool fixed = p.variance == VarianceKind::fixed;
  if (e.guided) mean += (fixed ? s.variance : expf(log_variance)) * e.gradient;
  if (e.noisy) mean += (fixed ? d.fixed_deviation : expf(0.5f * log_variance)) * e.noise;
  return mean;
}

__device__ __forceinline__ float ddim(const SamplerStepParams& p, const StepScalars& s,
                                      const Derived& d, const Element& e, float& x_start) {
  const float recip = s.sqrt_recip_alphas_cumprod, recipm1 = s.sqrt_recipm1_alphas_cumprod;
  x_start = predict_x_start(p, s, e.x, e.out);
  if (e.guided) {
    const float eps =
        (recip * e.x - x_start) / recipm1 - s.sqrt_one_minus_alphas_cumprod * e.gradient;
    x_start = recip * e.x - recipm1 * eps;
  }
  const float eps = (recip * e.x - x_start) / recipm1;
  float y = d.sqrt_prev * x_start + d.direction * eps;
  if (e.noisy) y += s.sigma * e.noise;
  return y;
}

__global__ void __launch_bounds__(kThreads, 2)
    sampler_step_kernel(const SamplerStepParams __grid_constant__ p) {
  const StepState state = *p.state;
  device_check(state.step >= 0 && state.step < p.steps,
               "sampler_step: step %lld is not within the table's %lld steps",
               static_cast<long long>(state.step), static_cast<long long>(p.steps));
  const StepScalars s =
      *reinterpret_cast<const StepScalars*>(p.table + state.step * p.table_stride);
  const Derived d = derive(s);
  const bool noisy = s.add_noise != 0.0f && !(p.ddim && s.sigma == 0.0f);
  const bool has_v = p.variance != VarianceKind::fixed && !p.ddim;
  const std::int64_t channels = p.x.cols, quads = (p.per_sample + 3) / 4;
  for (std::int64_t i = first_element(); i < p.samples * quads; i += next_element()) {
    const std::int64_t n = i / quads, quad = i - n * quads;
    PhiloxFloats drawn = {{0.0f, 0.0f, 0.0f, 0.0f}};
    if (noisy && !p.noise.data)
      drawn = normals_of(philox(
          {{static_cast<std::uint32_t>(quad), static_cast<std::uint32_t>(state.first_sample + n),
            static_cast<std::uint32_t>(state.draw), p.stream}},
          static_cast<std::uint32_t>(state.seed),
          static_cast<std::uint32_t>(static_cast<std::uint64_t>(state.seed) >> 32)));
    for (int j = 0; j < 4 && 4 * quad + j < p.per_sample; ++j) {
      const std::int64_t at = n * p.per_sample + 4 * quad + j;
      const std::int64_t row = at / channels, c = at - row * channels;
      Element e;
      e.x = load(p.x, row, c);
      e.out = load(p.model, row, c);
      e.v = has_v ? load(p.model, row, channels + c) : 0.0f;
      e.guided = p.gradient.data != nullptr;
      e.gradient = e.guided ? load(p.gradient, row, c) : 0.0f;
      e.noisy = noisy;
      e.noise = noisy && p.noise.data ? load(p.noise, row, c) : drawn.v[j];
      float x_start = 0.0f;
      store(p.y, row, c, p.ddim ? ddim(p, s, d, e, x_start) : ddpm(p, s, d, e, x_start));
      if (p.x_start.data) store(p.x_start, row, c, x_start);
    }
  }
}

__global__ void advance_kernel(const SamplerStepParams __grid_constant__ p) {
  --p.state->step;
  ++p.state->draw;
}

}  // namespace

void sampler_step_v1(const SamplerStepParams& p, Stream stream) {
  launch({"sampler_step", blocks_for(p.samples * ((p.per_sample + 3) / 4), 1), kThreads}, stream,
         sampler_step_kernel, p);
  launch({"sampler_step_advance", 1, 1}, stream, advance_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
