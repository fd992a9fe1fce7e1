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
#include "kernels/sampler_step/step.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__global__ void __launch_bounds__(kThreads, 2)
    sampler_step_kernel(const SamplerStepParams __grid_constant__ p) {
  const StepState state = *p.state;
  const StepScalars s = scalars_of(p, state);
  const Derived d = derive(s);
  const bool noisy = adds_noise(p, s);
  const bool has_v = p.variance != VarianceKind::fixed && !p.ddim;
  const std::int64_t channels = p.x.cols, quads = (p.per_sample + 3) / 4;
  for (std::int64_t i = first_element(); i < p.samples * quads; i += next_element()) {
    const std::int64_t n = i / quads, quad = i - n * quads;
    PhiloxFloats drawn = {{0.0f, 0.0f, 0.0f, 0.0f}};
    if (noisy && !p.noise.data) drawn = draw_noise(p, state, n, quad);
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
  sampler_step_advance(p, stream);
}

void sampler_step_advance(const SamplerStepParams& p, Stream stream) {
  launch({"sampler_step_advance", 1, 1}, stream, advance_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
