// Classifier-guided sampling with the library: guided UNET.pt CLASSIFIER.pt CLASS SCALE OUT.png
#include <fmt/format.h>

#include "diffusion/guidance.h"
#include "diffusion/sampler.h"
#include "nn/classifier.h"
#include "nn/infer.h"
#include "nn/unet.h"
#include "runtime/files/image.h"

using namespace tiller;

int main(int argc, char** argv) try {
  if (argc != 6) fail(ErrorKind::usage, "usage: guided UNET.pt CLASSIFIER.pt CLASS SCALE OUT.png");
  const Checkpoint unet_file = Checkpoint::open(argv[1]), judge_file = Checkpoint::open(argv[2]);
  // What these checkpoints' shapes cannot tell, and a published one's would.
  const GivenFlags flags{{"image_size", "16"}, {"use_new_attention_order", "True"}};
  const UNet unet(infer(unet_file, flags).unet, *load_parameters(unet_file));
  const ClassifierConfig judge_config = infer(judge_file, {{"image_size", "16"}}).classifier;
  const Classifier judge(judge_config, *load_parameters(judge_file));

  DiffusionConfig config;
  config.noise_schedule = "cosine";
  config.timestep_respacing = "20";
  const GaussianDiffusion diffusion(config);
  const Tensor y = Tensor::from(std::vector<std::int64_t>{std::stoll(argv[3])}, {1});
  const Model model = [&](const Var& x, const Tensor& t) { return unet(x, t, y); };
  const Guide guide = [&](const Tensor& x, const Tensor& t) {
    return judge.log_prob_gradient(x, t, y);
  };
  Sampler sampler(diffusion, model, scaled(guide, std::stod(argv[4])), {}, {1, 16, 16, 3},
                  philox_noise(/*seed=*/1, /*first_sample=*/0));
  while (!sampler.done()) fmt::print("step {}\n", sampler.next().step);

  const Tensor x = sampler.sample();  // [1,16,16,3]
  const Var loss = cross_entropy(judge(x, Tensor::zeros({1})), y);
  fmt::print("log p(class {}) = {:.4f}\n", argv[3], -loss.value().to_vector<float>()[0]);
  std::vector<std::uint8_t> pixels;
  for (const float v : affine(clamp(x, -1, 1), 127.5, 127.5).value().to_vector<float>())
    pixels.push_back(static_cast<std::uint8_t>(v));
  write_png(argv[5], Tensor::from(pixels, {16, 16, 3}));
} catch (const Error& error) {
  fmt::print(stderr, "{}\n", error.what());
  return error.exit_code();
}
