// The sampler's step, v2_pixels.
//
// math      v1_quads's
// shapes    x [N,H,W,3], the network's output [N,H,W,3] or [N,H,W,6], all f32 and dense
// mapping   a thread takes four pixels: twelve values of x are three 16-byte vectors (and three
//           Philox calls), the network's 24 values, mean and variance side by side, are six
// traffic   x, model (2x), gradient read, y written: 5 N H W C elements of 4 bytes; noise none
// roofline  launch latency: 0.25 MB a sample at 64x64; memory at 512x512 and large batches
// delta     v1_quads divides for each element's row and loads it alone
// limits    f32, three channels, 4 m pixels a sample; every tensor dense and aligned to 16 bytes
#include "kernels/sampler_step/step.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

inline constexpr int kPixels = 4, kColours = 3, kValues = kPixels * kColours;

// kCount values from `at` on, a multiple of four.
template <int kCount>
__device__ __forceinline__ void fetch(float (&to)[kCount], const View& from, std::int64_t at) {
#pragma unroll
  for (int i = 0; i < kCount; i += 4) {
    const Vec<float, 4> v = load_vec<4>(static_cast<const float*>(from.data) + at + i);
#pragma unroll
    for (int j = 0; j < 4; ++j) to[i + j] = v.v[j];
  }
}
__device__ __forceinline__ void put(const View& to, std::int64_t at, const float (&from)[kValues]) {
#pragma unroll
  for (int i = 0; i < kValues; i += 4)
    store_vec(static_cast<float*>(to.data) + at + i,
              Vec<float, 4>{from[i], from[i + 1], from[i + 2], from[i + 3]});
}

// kOutputs: the network's channels, 3 or 6.
template <int kOutputs>
__global__ void __launch_bounds__(kThreads, 2)
    sampler_step_vec_kernel(const SamplerStepParams __grid_constant__ p) {
  const StepState state = *p.state;
  const StepScalars s = scalars_of(p, state);
  const Derived d = derive(s);
  const bool noisy = adds_noise(p, s), guided = p.gradient.data != nullptr;
  const std::int64_t each = p.per_sample / kValues;
  for (std::int64_t i = first_element(); i < p.samples * each; i += next_element()) {
    const std::int64_t at = i * kValues, n = i / each, group = i - n * each;
    float x[kValues], out[kPixels * kOutputs], gradient[kValues] = {}, noise[kValues] = {};
    fetch(x, p.x, at);
    fetch(out, p.model, i * kPixels * kOutputs);
    if (guided) fetch(gradient, p.gradient, at);
    if (noisy && p.noise.data) fetch(noise, p.noise, at);
    if (noisy && !p.noise.data) {
#pragma unroll
      for (int quad = 0; quad < kColours; ++quad) {
        const PhiloxFloats drawn = draw_noise(p, state, n, group * kColours + quad);
#pragma unroll
        for (int j = 0; j < 4; ++j) noise[quad * 4 + j] = drawn.v[j];
      }
    }
    float y[kValues], x_start[kValues];
#pragma unroll
    for (int j = 0; j < kValues; ++j) {
      const int pixel = j / kColours, c = j % kColours;
      const float v =
          kOutputs == 2 * kColours ? out[pixel * kOutputs + (kOutputs - kColours) + c] : 0.0f;
      const Element e{x[j], out[pixel * kOutputs + c], v, gradient[j], noise[j], guided, noisy};
      y[j] = p.ddim ? ddim(p, s, d, e, x_start[j]) : ddpm(p, s, d, e, x_start[j]);
    }
    put(p.y, at, y);
    if (p.x_start.data) put(p.x_start, at, x_start);
  }
}

}  // namespace

void sampler_step_v2(const SamplerStepParams& p, Stream stream) {
  launch({"sampler_step_vec", blocks_for(p.samples * (p.per_sample / kValues), 1), kThreads},
         stream,
         p.model.cols == 2 * kColours ? sampler_step_vec_kernel<2 * kColours>
                                      : sampler_step_vec_kernel<kColours>,
         p);
  sampler_step_advance(p, stream);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
