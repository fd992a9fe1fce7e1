#include "kernels/sampler_step/fast.h"

#include "kernels/blocks.h"
#include "kernels/philox_simd.h"
#include "kernels/sampler_step/reference.h"
#include "kernels/simd.h"

namespace tiller {

namespace {

using V = f32x8;

// The mean part or the variance part of the network's output, [N,H,W,C].
Tensor half_of(const Tensor& model, std::int64_t channels, bool second) {
  return model.cols() == channels ? model
         : second                 ? model.channels(channels, 2 * channels)
                                  : model.channels(0, channels);
}

// Noise of elements [e, e + n) of one entry, e a multiple of 4.
void draw_noise(const RandomKey& key, std::int64_t e, std::int64_t n, float* out) {
  alignas(32) float last[32];
  for (std::int64_t i = 0; i < n; i += 32) {
    const PhiloxWords8 words =
        philox8(static_cast<std::uint32_t>((e + i) / 4), key.sample, key.step,
                static_cast<std::uint32_t>(key.stream), static_cast<std::uint32_t>(key.seed),
                static_cast<std::uint32_t>(key.seed >> 32));
    if (i + 32 <= n) {
      normals_of(words, out + i);
    } else {
      normals_of(words, last);
      std::copy_n(last, n - i, out + i);
    }
  }
}

}  // namespace

bool sampler_step_fast_supports(const SamplerStepArgs& args) { return args.dtype() == DType::f32; }

// The reference's formulas on vectors, entry by entry in blocks.
void sampler_step_fast(const SamplerStepArgs& args, void*, Stream) {
  auto& state = *static_cast<StepState*>(args.state.raw());
  const StepScalars scalars = step_scalars(args, state);
  const StepConstants<V> k(scalars);
  const std::int64_t entries = args.x.dim(0), channels = args.x.cols();
  const std::int64_t size = args.x.numel() == 0 ? 0 : args.x.numel() / entries;  // of an entry
  const std::int64_t blocks = (size + kBlockElements - 1) / kBlockElements;
  const bool has_v = args.variance != VarianceKind::fixed && !args.ddim;
  const bool noisy = step_adds_noise(args, scalars);
  const Tensor mean_part = half_of(args.model, channels, false);
  const Tensor variance_part = has_v ? half_of(args.model, channels, true) : Tensor();
  launch("sampler_step", entries * blocks, [&](std::int64_t task) {
    const std::int64_t entry = task / blocks, within = task % blocks * kBlockElements;
    const std::int64_t n = std::min(kBlockElements, size - within), e = entry * size + within;
    BlockBuffer b0, b1, b2, b3, b4, b5, b6;
    const float* x = read_block(args.x, e, n, b0.data);
    const float* out = read_block(mean_part, e, n, b1.data);
    const float* v = has_v ? read_block(variance_part, e, n, b2.data) : nullptr;
    const float* gradient = args.gradient ? read_block(args.gradient, e, n, b3.data) : nullptr;
    const float* noise = b4.data;
    if (noisy && args.noise)
      noise = read_block(args.noise, e, n, b4.data);
    else if (noisy)
      draw_noise(step_noise_key(state, entry), within, n, b4.data);
    float* y = block_target(args.y, e, b5.data);
    float* x_start = args.x_start ? block_target(args.x_start, e, b6.data) : b6.data;
    for (Step<V> s(n); s; s.next()) {
      const V v_here = v ? s.load(v) : V(0.0f);
      const V gradient_here = gradient ? s.load(gradient) : V(0.0f);
      const V noise_here = noisy ? s.load(noise) : V(0.0f);
      V x_start_here(0.0f);
      const V next = step_element<V>(args, k, s.load(x), s.load(out), &v_here,
                                     gradient ? &gradient_here : nullptr,
                                     noisy ? &noise_here : nullptr, x_start_here);
      s.store(next, y);
      s.store(x_start_here, x_start);
    }
    write_block(args.y, e, n, y);
    if (args.x_start) write_block(args.x_start, e, n, x_start);
  });
  --state.step;
  ++state.draw;
}

}  // namespace tiller
