#include "tools/demo_shapes/steer.h"

#include <algorithm>
#include <vector>

#include "diffusion/sampler.h"
#include "tools/demo_shapes/shapes.h"

namespace tiller::demo {

namespace {
constexpr std::int64_t kBatch = 48;
}

Tensor steer(const UNet& unet, const Classifier& classifier, const GaussianDiffusion& diffusion,
             double scale, const Tensor& labels, std::uint64_t seed,
             const std::function<void(std::int64_t)>& on_step) {
  const std::int64_t n = labels.dim(0);
  const Tensor pictures = Tensor::empty({n, kSide, kSide, 3});
  const Model model = [&](const Var& x_t, const Tensor& timestep) { return unet(x_t, timestep); };
  for (std::int64_t first = 0; first < n; first += kBatch) {
    const std::int64_t end = std::min(n, first + kBatch);
    Guide guide;
    if (scale != 0)
      guide = [&](const Tensor& x_t, const Tensor& timestep) {
        const Tensor gradient =
            classifier.log_prob_gradient(x_t, timestep, labels.slice(first, end));
        return affine(gradient, scale, 0).value();
      };
    Sampler sampler(diffusion, model, guide, {}, pictures.slice(first, end).shape(),
                    philox_noise(seed, static_cast<std::uint32_t>(first)));
    while (!sampler.done()) {
      const StepOutput out = sampler.next();
      if (on_step)
        on_step(first * diffusion.steps() + (end - first) * (diffusion.steps() - out.step));
    }
    pictures.slice(first, end).copy_from(sampler.sample());
  }
  return pictures;
}

double accuracy(const Classifier& classifier, const Tensor& x, const Tensor& labels) {
  const NoGrad no_recording;
  const std::int64_t n = x.dim(0);
  const std::vector<std::int64_t> wanted = labels.to_vector<std::int64_t>();
  std::int64_t right = 0;
  for (std::int64_t first = 0; first < n; first += kBatch) {
    const std::int64_t end = std::min(n, first + kBatch);
    const Var logits = classifier(x.slice(first, end), Tensor::zeros({end - first}));  // [N,K]
    const std::vector<float> values = logits.value().to_vector<float>();
    const std::int64_t classes = logits.dim(1);
    for (std::int64_t i = 0; i < end - first; ++i) {
      const auto row = values.begin() + i * classes;
      right +=
          std::max_element(row, row + classes) - row == wanted[static_cast<std::size_t>(first + i)];
    }
  }
  return static_cast<double>(right) / static_cast<double>(n);
}

}  // namespace tiller::demo
