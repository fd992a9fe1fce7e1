// Whole tiny networks through the CUDA kernels, thread by thread on simt: what they compute is what
// PyTorch, or our own CPU rows, compute.
#include "tests/gpu.h"
#include "diffusion/losses.h"
#include "nn/optimizer.h"
#include "tests/integration/reference.h"

namespace tiller {
namespace {

using namespace test;

class OnGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!available(gpu())) GTEST_SKIP() << no_gpu();
  }
};

UNet unet_on(Device device, const std::string& name, DType torso = DType::f32) {
  const auto source = load_parameters(Checkpoint::open(data(name + ".pt")), DType::f32, device);
  UNetConfig config = unet_config(reference_index().at(name).at("flags"));
  config.torso = torso;
  return UNet(config, *source);
}
Classifier classifier_on(Device device, DType torso = DType::f32) {
  const auto source =
      load_parameters(Checkpoint::open(data("classifier_attention.pt")), DType::f32, device);
  ClassifierConfig config =
      classifier_config(reference_index().at("classifier_attention").at("flags"));
  config.torso = torso;
  return Classifier(config, *source);
}

Tensor floats(const Tensor& t) {
  if (t.dtype() != DType::i64) return cast_on_host(t, DType::f32);
  std::vector<float> values;
  for (const std::int64_t v : t.to_vector<std::int64_t>()) values.push_back(static_cast<float>(v));
  return Tensor::from(values, t.shape());
}

// The first `count` entries of a file's inputs.
struct Batch {
  Batch(const char* file, std::int64_t count, Device device) {
    const NpzReader npz = NpzReader::open(data(file));
    const auto take = [&](const Tensor& t) { return t.slice(0, count).to(device); };
    x = take(channels_last(floats(npz.read("x"))));
    t = take(floats(npz.read("t")));
    y = take(npz.read("y"));
  }
  Tensor x, t, y;
};

double error(const Tensor& a, const Tensor& b) { return relative_error(a.to(kCpu), b.to(kCpu)); }

TEST_F(OnGpu, OutputsArePyTorchs) {
  const NpzReader file = NpzReader::open(data("unet_cond.npz"));
  const NpzReader half = NpzReader::open(data("unet_cond.fp16.npz"));
  const Batch in("unet_cond.npz", 1, gpu());
  const auto first = [](const Tensor& t) { return channels_last(floats(t).slice(0, 1)); };
  const Tensor truth = first(file.read("out"));
  const UNet exact = unet_on(gpu(), "unet_cond");
  EXPECT_LE(error(exact(in.x, in.t, in.y, Var()).value(), truth), 1e-5);
  // Ours may be twice as far off as PyTorch's half, and must not be f32 in disguise.
  const UNet rounded = unet_on(gpu(), "unet_cond", DType::f16);
  const double ours = error(rounded(in.x, in.t, in.y, Var()).value(), truth);
  EXPECT_LE(ours, 2 * relative_error(first(half.read("out")), truth));
  EXPECT_GT(ours, 1e-5);
}

TEST_F(OnGpu, ClassifierGradientsArePyTorchs) {
  const NpzReader file = NpzReader::open(data("classifier_attention.npz"));
  const NpzReader half = NpzReader::open(data("classifier_attention.fp16.npz"));
  const Batch in("classifier_attention.npz", 1, gpu());
  const auto first = [](const Tensor& t) { return channels_last(floats(t).slice(0, 1)); };
  const Tensor truth = first(file.read("grad"));
  for (const DType torso : {DType::f32, DType::f16}) {
    const Classifier network = classifier_on(gpu(), torso);
    Tensor logits;
    const double ours = error(network.log_prob_gradient(in.x, in.t, in.y, &logits), truth);
    EXPECT_LE(ours,
              torso == DType::f32 ? 1e-5 : 2 * relative_error(first(half.read("grad")), truth));
    EXPECT_LE(error(logits, floats(file.read("logits")).slice(0, 1)),
              torso == DType::f32 ? 1e-5 : 1e-2);
  }
}

// A loss, what it makes of every parameter's gradient, and of the parameters after one step.
struct Step {
  Tensor loss;
  std::vector<Tensor> gradients, weights, averages, m, v;
};
template <class Network, class Loss>
Step train_once(const Network& network, std::int64_t batch, const Loss& loss) {
  Step out;
  AdamW optimizer(network.parameters(), {.weight_decay = 0.05});
  Ema ema(network.parameters(), 0.9);
  ParameterGradients gradients(network.parameters());
  backward_microbatches(gradients, batch, batch, [&](std::int64_t, std::int64_t) {
    const Var mean = reduce_mean(loss());
    out.loss = mean.value().to(kCpu);
    return mean;
  });
  optimizer.step(gradients, 1e-3);
  ema.update();
  for (std::size_t i = 0; i < network.parameters().all().size(); ++i) {
    out.gradients.push_back(gradients.all()[i].to(kCpu));
    out.weights.push_back(network.parameters().all()[i].value.to(kCpu));
    out.averages.push_back(ema.parameters().all()[i].value.to(kCpu));
    out.m.push_back(optimizer.state().m[i].to(kCpu));
    out.v.push_back(optimizer.state().v[i].to(kCpu));
  }
  return out;
}

double norm_of(const Tensor& t) {
  double sum = 0;
  for (const float v : t.to_vector<float>()) sum += static_cast<double>(v) * v;
  return std::sqrt(sum);
}

// Where a gradient is rounding alone (a bias before a norm over its own channel) both devices have
// their own, and Adam makes a whole step of it: those are let off. Within a tensor (the keys' third
// of a qkv bias) they move the weights by a few steps of 1e-3 of their norm.
void expect_same_step(const Step& ours, const Step& theirs, const ParameterList& parameters) {
  EXPECT_LE(relative_error(ours.loss, theirs.loss), 1e-5);
  double largest = 0;
  for (const Tensor& g : theirs.gradients) largest = std::max(largest, norm_of(g));
  std::size_t compared = 0;
  for (std::size_t i = 0; i < theirs.gradients.size(); ++i) {
    SCOPED_TRACE(parameters.all()[i].key);
    const double norm = norm_of(theirs.gradients[i]);
    if (norm < 1e-4 * largest) continue;
    ++compared;
    EXPECT_LE(relative_error(ours.gradients[i], theirs.gradients[i]), 1e-4);
    EXPECT_LE(relative_error(ours.m[i], theirs.m[i]), 1e-4);
    EXPECT_LE(relative_error(ours.v[i], theirs.v[i]), 2e-4);
    EXPECT_LE(relative_error(ours.weights[i], theirs.weights[i]), 3e-3);
    EXPECT_LE(relative_error(ours.averages[i], theirs.averages[i]), 3e-3);
  }
  EXPECT_GE(compared, theirs.gradients.size() / 2);
}

TEST_F(OnGpu, OneTrainingStepIsTheCpus) {
  const GaussianDiffusion diffusion(
      process_config(reference_index().at("unet_cond").at("flags"), ""));
  const auto step = [&](Device device, ParameterList& parameters) {
    const Batch in("unet_cond.npz", 1, device);
    const UNet unet = unet_on(device, "unet_cond");
    parameters = unet.parameters();
    const Tensor t = Tensor::from(std::vector<std::int64_t>{400}, {1}).to(device);
    const NpzReader losses = NpzReader::open(data("losses.npz"));
    const Tensor noise = array(losses, "unet_plain.noise").slice(0, 1).to(device);
    return train_once(unet, 1, [&] {
      return training_losses(diffusion, model_of(unet, in.y), in.x, t, noise).loss;
    });
  };
  ParameterList parameters;
  const Step theirs = step(kCpu, parameters), ours = step(gpu(), parameters);
  expect_same_step(ours, theirs, parameters);
}

TEST_F(OnGpu, AClassifiersParameterGradientsAreTheCpus) {
  const auto step = [&](Device device, ParameterList& parameters) {
    const Batch in("classifier_attention.npz", 1, device);
    const Classifier network = classifier_on(device);
    parameters = network.parameters();
    return train_once(network, 1, [&] { return cross_entropy(network(in.x, in.t), in.y); });
  };
  ParameterList parameters;
  const Step theirs = step(kCpu, parameters), ours = step(gpu(), parameters);
  expect_same_step(ours, theirs, parameters);
}

// Guided steps from the same start with the same noise, on either device. The scale is large: random
// classifiers are weak.
Tensor guided_steps(Device device, const char* respacing, bool ddim, std::int64_t steps) {
  const nlohmann::json& flags = reference_index().at("sample_small_ddpm_guided").at("flags");
  const GaussianDiffusion diffusion(process_config(flags, respacing));
  const Batch in("unet_cond.npz", 1, device);
  const UNet unet = unet_on(device, "unet_cond");
  const Classifier classifier = classifier_on(device);
  const Tensor y = Tensor::from(std::vector<std::int64_t>{7}, {1}).to(device);
  const NpzReader file = NpzReader::open(data("sample_small_ddpm_guided.npz"));
  const Tensor noise = floats(file.read("noise"));  // [draws,2,3,16,16]
  const NoiseSource source = [&](std::int64_t draw, const Shape& shape) {
    const Tensor one = noise.slice(draw, draw + 1).reshape({2, 3, 16, 16}).slice(0, 1);
    const Tensor out = channels_last(one).to(device);
    EXPECT_EQ(out.shape(), shape);
    return out;
  };
  Sampler sampler(diffusion, model_of(unet, y), guide_of(classifier, y, 100), {.ddim = ddim},
                  {1, 16, 16, 3}, source);
  for (std::int64_t i = 0; i < steps; ++i) sampler.next();
  return sampler.sample().to(kCpu);
}

TEST_F(OnGpu, GuidedDdpmStepsAreTheCpus) {
  EXPECT_LE(relative_error(guided_steps(gpu(), "4", false, 2), guided_steps(kCpu, "4", false, 2)),
            1e-4);
}
TEST_F(OnGpu, GuidedDdimStepsAreTheCpus) {
  EXPECT_LE(
      relative_error(guided_steps(gpu(), "ddim4", true, 2), guided_steps(kCpu, "ddim4", true, 2)),
      1e-4);
}

}  // namespace
}  // namespace tiller
