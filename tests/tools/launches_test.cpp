// How many kernels a guided step of a published model launches on a GPU: for a single small picture a
// figure as important as its flops, and like these a budget.
#include <gtest/gtest.h>

#include <map>

#include "nn/published.h"
#include "runtime/simt_launches.h"
#include "runtime/trace.h"
#include "tools/sampling/denoiser.h"

namespace tiller {
namespace {

constexpr Device kSimt{DeviceType::simt, 0};

// Parameters whose values nobody will read.
class Unwritten final : public ParameterSource {
 public:
  Tensor get(const std::string&, const Shape& shape, const std::vector<std::int64_t>&, FileLayout,
             const Init&) override {
    return Tensor::empty(shape, DType::f32, kSimt);
  }
};

class Launches final : public TraceSink {
 public:
  void on_op(const OpEvent&) override {}
  void on_launch(const LaunchEvent& event) override {
    ++total;
    ++of[event.kernel];
  }
  int total = 0;
  std::map<std::string, int> of;
};

const KnownModel& known(std::string_view name) {
  for (const KnownModel& model : known_models())
    if (name == model.name) return model;
  throw std::logic_error("no such model");
}

// The launches of a step behind the first, when every form of a weight has been made.
Launches guided_step(const std::string& size, std::int64_t n) {
  const executor::LaunchesOnly no_blocks;
  Unwritten source;
  UNetConfig unet = unet_config(known(size + "_diffusion"));
  ClassifierConfig guide = classifier_config(known(size + "_classifier"));
  unet.torso = guide.torso = DType::f16;
  const UNet network(unet, source);
  const Classifier classifier(guide, source);
  DiffusionConfig process;
  process.timestep_respacing = "3";
  const GaussianDiffusion diffusion(process);
  Denoiser denoiser(network, &classifier, 1, diffusion);
  denoiser.start(n, Tensor::zeros({n}, DType::i64));
  SampleOptions options;
  options.graph = true;
  Sampler sampler(diffusion, denoiser.model(), denoiser.guide(), options,
                  {n, unet.image_size, unet.image_size, 3}, [](std::int64_t, const Shape& shape) {
                    return Tensor::zeros(shape, DType::f32, kSimt);
                  });
  denoiser.follow(sampler.state(), true);
  sampler.next();
  Launches launches;
  const TraceGuard guard(launches, TraceLevel::launches);
  sampler.next();
  return launches;
}

// A budget: a change may lower it, and must say so here.
TEST(GuidedStep, LaunchesFewKernels) {
  if (!available(kSimt)) GTEST_SKIP() << "this build has no simt";
  const Launches step = guided_step("64x64", 1);
  std::string counts;
  for (const auto& [kernel, count] : step.of) counts += fmt::format("{:5} {}\n", count, kernel);
  EXPECT_LE(step.total, 545) << counts;
  EXPECT_GT(step.of.at("mma_f16"), 200) << "the convolutions of both networks are in the count";
}

}  // namespace
}  // namespace tiller
