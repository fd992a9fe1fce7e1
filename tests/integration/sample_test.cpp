// Whole trajectories against PyTorch's: the same start, the same noise, the same pictures.
#include <fmt/format.h>

#include "tests/integration/reference.h"

namespace tiller {
namespace {

using namespace test;

struct Trajectory {
  std::vector<StepOutput> steps;
};

Trajectory run_sampler(const GaussianDiffusion& diffusion, const Model& model, const Guide& guide,
                       const SampleOptions& options, const Tensor& noise, const Shape& shape) {
  Sampler sampler(diffusion, model, guide, options, shape, recorded_noise(noise));
  Trajectory out;
  while (!sampler.done()) out.steps.push_back(sampler.next());
  return out;
}

// Whole trajectories hold 2e-5, a fifth of what one network call is allowed, with one exception: the
// first step of the 8-step cosine process has alpha_bar = 2e-9, so its x_0 is the difference of two
// numbers of size 2e4 before it is clamped, and a few elements land between -1 and 1.
double tolerance(const std::string& name) {
  return name == "sample_ddpm_guided" || name == "sample_ddpm_unguided" ? 1e-4 : 2e-5;
}

void expect_trajectory(const std::string& name, const std::string& folder,
                       const std::vector<bool>& fused_or_not) {
  SCOPED_TRACE(name);
  const nlohmann::json& c = reference_index().at(name);
  const nlohmann::json& flags = c.at("flags");
  const NpzReader file = NpzReader::open(folder + "/" + name + ".npz");
  const GaussianDiffusion diffusion(process_config(flags, c.at("timestep_respacing")));
  const UNet unet = load_unet(folder, c.at("model").at(0));
  const Tensor y = file.read("y");
  const Tensor low_res = file.contains("low_res") ? array(file, "low_res") : Tensor();
  const Model model = model_of(unet, unet.config().num_classes > 0 ? y : Tensor(), low_res);
  std::unique_ptr<Classifier> classifier;
  Guide guide;
  if (c.at("classifier").is_string()) {
    classifier = std::make_unique<Classifier>(load_classifier(folder, c.at("classifier")));
    guide = guide_of(*classifier, y, c.at("classifier_scale"));
  }
  SampleOptions options;
  options.ddim = c.at("use_ddim");
  options.eta = c.at("eta");
  options.clip = c.at("clip_denoised");
  if (c.contains("denoised") && c.at("denoised").is_string()) {
    ASSERT_EQ(c.at("denoised"), "0.9 x + 0.05");
    options.denoised_fn = [](const Var& x) { return affine(x, 0.9, 0.05); };
  }
  const Tensor noise = file.read("noise");
  const Shape shape = array(file, "first").shape();
  for (const bool fused : fused_or_not) {
    SCOPED_TRACE(fused ? "fused" : "tensor operations");
    options.fused = fused;
    const Trajectory t = run_sampler(diffusion, model, guide, options, noise, shape);
    ASSERT_EQ(static_cast<std::int64_t>(t.steps.size()), noise.dim(0) - 1);
    const auto expect = [&](const char* what, const Tensor& ours) {
      if (!file.contains(what)) return;
      const double error = relative_error(ours, array(file, what));
      EXPECT_LT(error, tolerance(name)) << what;
    };
    expect("first", t.steps.front().sample);
    expect("first_xstart", t.steps.front().x_start);
    expect("middle", t.steps[t.steps.size() / 2].sample);
    expect("final", t.steps.back().sample);
    expect("final_xstart", t.steps.back().x_start);
    const PixelDifference d = compare_pixels(pixels(t.steps.back().sample), file.read("images"));
    EXPECT_LE(d.largest, 1);  // where (x + 1) * 127.5 stands at a whole number
    EXPECT_LE(d.differing, d.total / 500) << "of " << d.total;
  }
}

TEST(Trajectories, SmallGuidedOnes) {
  for (const char* name :
       {"sample_small_ddpm_guided", "sample_small_ddim_guided", "sample_small_ddim_eta"})
    expect_trajectory(name, TILLER_TEST_DATA, {true, false});
}

// classifier_sample.py after manual_seed(3): labels, start and a draw at every step come from
// PyTorch's own generator, and of the second batch of two one picture is kept.
TEST(Trajectories, WithPyTorchsGenerator) {
  TILLER_NEEDS_REFERENCE();
  const nlohmann::json& c = reference_index().at("sample_torch_cpu");
  const NpzReader file = NpzReader::open(reference_folder() + "/sample_torch_cpu.npz");
  const GaussianDiffusion diffusion(
      process_config(reference_index().at("unet_64").at("flags"), c.at("timestep_respacing")));
  const UNet unet = load_unet(reference_folder(), c.at("model"));
  const Classifier classifier = load_classifier(reference_folder(), c.at("classifier"));
  TorchCpuGenerator generator(c.at("seed").get<std::uint64_t>());
  const NoiseSource noise = [&](std::int64_t, const Shape& s) {
    return channels_last(Tensor::from(generator.randn(s.numel()), {s[0], s[3], s[1], s[2]}));
  };
  const std::int64_t wanted = c.at("num_samples"), batch = c.at("batch_size");
  std::vector<std::uint8_t> pictures;
  std::vector<std::int64_t> labels;
  for (std::int64_t done = 0; done < wanted; done += batch) {
    const std::vector<std::int64_t> drawn = generator.randint(1000, batch);
    labels.insert(labels.end(), drawn.begin(), drawn.end());
    const Tensor y = Tensor::from(drawn, {batch});
    Sampler sampler(diffusion, model_of(unet, y), guide_of(classifier, y, c.at("classifier_scale")),
                    {.ddim = true}, {batch, 64, 64, 3}, noise);
    while (!sampler.done()) sampler.next();
    const std::vector<std::uint8_t> some = pixels(sampler.sample());
    pictures.insert(pictures.end(), some.begin(), some.end());
  }
  labels.resize(static_cast<std::size_t>(wanted));
  pictures.resize(static_cast<std::size_t>(wanted * 64 * 64 * 3));
  EXPECT_EQ(labels, file.read("arr_1").to_vector<std::int64_t>());
  const PixelDifference d = compare_pixels(pictures, file.read("arr_0"));
  EXPECT_LE(d.largest, 1);
  EXPECT_LE(d.differing, d.total / 500) << "of " << d.total;
}

TEST(DdimReverse, EncodesAsPyTorchDoes) {
  TILLER_NEEDS_REFERENCE();
  const nlohmann::json& c = reference_index().at("ddim_reverse");
  const NpzReader file = NpzReader::open(reference_folder() + "/ddim_reverse.npz");
  const GaussianDiffusion diffusion(
      process_config(reference_index().at("unet_64").at("flags"), c.at("timestep_respacing")));
  const UNet unet = load_unet(reference_folder(), c.at("model"));
  const Tensor y = file.read("y");
  const Model model = model_of(unet, y);
  const SampleOptions options{.ddim = true};
  Tensor x = array(file, "x");
  for (std::int64_t step = 0; step < diffusion.steps(); ++step) {
    const Tensor timestep = diffusion.timesteps(same_step(step, x.dim(0)));
    x = ddim_reverse_step(diffusion, model(x, timestep).value(), x, step, options).sample;
    if (step > 0) continue;
    EXPECT_LT(relative_error(x, array(file, "first")), 1e-5);
  }
  EXPECT_LT(relative_error(x, array(file, "encoded")), 2e-5);
}

TEST(Trajectories, AllOfTheReference) {
  TILLER_NEEDS_REFERENCE();
  int compared = 0;
  for (const auto& [name, c] : reference_index().items()) {
    const std::string kind = c.at("kind");
    if (kind != "sample" && kind != "sample_api") continue;
    // The tensor operations are a second time as long: they do the cases that no other covers.
    const bool both = name == "sample_denoised_fn" || name == "sample_xstart" ||
                      name == "sample_fixed_variance" || name == "sample_sigma_small";
    expect_trajectory(name, reference_folder(),
                      both ? std::vector{true, false} : std::vector{true});
    ++compared;
  }
  EXPECT_EQ(compared, 18);
}

}  // namespace
}  // namespace tiller
