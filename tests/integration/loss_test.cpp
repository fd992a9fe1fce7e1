// Losses, their gradients by the network's parameters, and bits per dimension, against PyTorch's.
#include <fstream>
#include <sstream>

#include "diffusion/losses.h"
#include "nn/optimizer.h"
#include "tests/integration/reference.h"

namespace tiller {
namespace {

using namespace test;

// "PREVIOUS_X,LEARNED_RANGE,KL,100": enumerators of guided-diffusion and a respacing.
void set_by_names(DiffusionConfig& config, const std::string& names) {
  std::stringstream text(names);
  std::string mean, variance, loss;
  std::getline(text, mean, ',');
  std::getline(text, variance, ',');
  std::getline(text, loss, ',');
  std::getline(text, config.timestep_respacing);
  const std::map<std::string, MeanKind> means{{"PREVIOUS_X", MeanKind::previous_x},
                                              {"START_X", MeanKind::x_start},
                                              {"EPSILON", MeanKind::epsilon}};
  const std::map<std::string, VarianceType> variances{
      {"FIXED_LARGE", VarianceType::fixed_large},
      {"FIXED_SMALL", VarianceType::fixed_small},
      {"LEARNED", VarianceType::learned},
      {"LEARNED_RANGE", VarianceType::learned_range}};
  const std::map<std::string, LossType> losses{{"MSE", LossType::mse},
                                               {"RESCALED_MSE", LossType::rescaled_mse},
                                               {"KL", LossType::kl},
                                               {"RESCALED_KL", LossType::rescaled_kl}};
  config.mean = means.at(mean);
  config.variance = variances.at(variance);
  config.loss = losses.at(loss);
}

// A model's own settings, changed by a case's.
DiffusionConfig config_of(const nlohmann::json& c) {
  nlohmann::json flags = reference_index().at(c.at("model").get<std::string>()).at("flags");
  if (c.at("flags").is_string()) {
    DiffusionConfig config = process_config(flags, "");
    set_by_names(config, c.at("flags"));
    return config;
  }
  for (const auto& [name, value] : c.at("flags").items())
    flags[name == "steps" ? "diffusion_steps" : name] = value;
  return process_config(flags, flags.at("timestep_respacing"));
}

// The reference gave its samples the labels 1, 2, ...
Tensor labels_of(const UNet& unet, std::int64_t n) {
  if (unet.config().num_classes == 0) return {};
  std::vector<std::int64_t> y(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<std::int64_t>(i) + 1;
  return Tensor::from(y, {n});
}

void expect_values(const NpzReader& file, const std::string& name, const Var& ours) {
  SCOPED_TRACE(name);
  ASSERT_EQ(file.contains(name), ours.defined());
  if (!ours.defined()) return;
  const std::vector<float> a = ours.value().to_vector<float>();
  const std::vector<float> b = file.read(name).to_vector<float>();
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    EXPECT_NEAR(a[i], b[i], 2e-5 * std::abs(b[i]) + 1e-7) << "sample " << i;
}

// Every case of losses.json or losses2.json; with `gradients`, those of the mean loss as well.
void expect_losses(const std::string& folder, const std::string& set, bool gradients) {
  std::ifstream list(folder + "/" + set + ".json");
  const nlohmann::json cases = nlohmann::json::parse(list);
  ASSERT_GE(cases.size(), 14u);
  const NpzReader file = NpzReader::open(folder + "/" + set + ".npz");
  std::map<std::string, UNet> networks;
  for (const nlohmann::json& c : cases) {
    const std::string key = c.at("key"), name = c.at("model");
    SCOPED_TRACE(key);
    if (!networks.contains(name)) networks.emplace(name, load_unet(folder, name));
    const UNet& unet = networks.at(name);
    const GaussianDiffusion diffusion(config_of(c));
    const auto t = c.at("t").get<std::vector<std::int64_t>>();
    const auto n = static_cast<std::int64_t>(t.size());
    const Tensor x0 = array(file, name + ".x0"), noise = array(file, name + ".noise");
    TrainingLosses losses;
    const auto run = [&] {
      losses = training_losses(diffusion, model_of(unet, labels_of(unet, n)), x0,
                               Tensor::from(t, {n}), noise);
      return reduce_mean(losses.loss);
    };
    ParameterGradients sums(unet.parameters());
    if (gradients)
      backward_microbatches(sums, n, 0, [&](std::int64_t, std::int64_t) { return run(); });
    else
      run();
    expect_values(file, key + ".loss", losses.loss);
    expect_values(file, key + ".mse", losses.mse);
    expect_values(file, key + ".vb", losses.vb);
    if (!gradients) continue;
    const std::vector<double> norms = file.read(key + ".gradnorm").to_vector<double>();
    const std::vector<Parameter>& all = unet.parameters().all();
    ASSERT_EQ(norms.size(), all.size());
    const std::vector<Tensor>& ours = sums.all();
    const double whole = sums.norm();
    for (std::size_t i = 0; i < all.size(); ++i) {
      double sum = 0;
      for (const float g : ours[i].to_vector<float>()) sum += static_cast<double>(g) * g;
      EXPECT_NEAR(std::sqrt(sum), norms[i], 1e-4 * norms[i] + 1e-6 * whole) << all[i].key;
      if (all[i].key != "out.2.weight") continue;
      EXPECT_LT(relative_error(ours[i], array(file, key + ".grad.out.2.weight")), 1e-4);
    }
  }
}

TEST(Losses, BySettings) { expect_losses(TILLER_TEST_DATA, "losses", false); }

TEST(Losses, WithGradientsAndTheSettingsThatDiffer) {
  TILLER_NEEDS_REFERENCE();
  expect_losses(reference_folder(), "losses2", true);
}

TEST(BitsPerDimension, OfGivenNoise) {
  const nlohmann::json& c = reference_index().at("nll");
  const NpzReader file = NpzReader::open(data("nll.npz"));
  const UNet unet = load_unet(TILLER_TEST_DATA, c.at("model"));
  const GaussianDiffusion diffusion(
      process_config(reference_index().at(c.at("model").get<std::string>()).at("flags"),
                     c.at("timestep_respacing")));
  const BitsPerDimension ours =
      bits_per_dimension(diffusion, model_of(unet, file.read("y")), array(file, "x0"), true,
                         recorded_noise(file.read("noise")));
  const std::pair<const char*, Tensor> parts[] = {{"total_bpd", ours.total},
                                                  {"vb", ours.vb},
                                                  {"xstart_mse", ours.x_start_mse},
                                                  {"mse", ours.mse}};
  for (const auto& [name, values] : parts)
    EXPECT_LT(relative_error(values, file.read(name)), 1e-5) << name;
  // At alpha_bar = 2e-9 nothing is left of a picture: what remains is f32 rounding of zero.
  const std::vector<float> prior = ours.prior.to_vector<float>();
  const std::vector<float> theirs = file.read("prior_bpd").to_vector<float>();
  for (std::size_t i = 0; i < prior.size(); ++i) EXPECT_NEAR(prior[i], theirs[i], 1e-6);
}

}  // namespace
}  // namespace tiller
