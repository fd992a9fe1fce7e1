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

// At step 0 the variational term is the log of a difference of two nearly equal values of the normal
// CDF, which f32 holds to 6e-8: where the bin's probability is 1e-4 that is 6e-4 of it, in PyTorch as
// here.
constexpr double kCancelling = 1e-3;

bool cancels(const TrainingLosses& losses, std::int64_t step) {
  return step == 0 && (losses.vb.defined() || !losses.mse.defined());
}

void expect_values(const NpzReader& file, const std::string& name, const Var& ours,
                   const std::vector<double>& tolerance) {
  SCOPED_TRACE(name);
  ASSERT_EQ(file.contains(name), ours.defined());
  if (!ours.defined()) return;
  const std::vector<float> a = ours.value().to_vector<float>();
  const std::vector<float> b = file.read(name).to_vector<float>();
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    EXPECT_NEAR(a[i], b[i], tolerance[i] * std::abs(b[i]) + 1e-7) << "sample " << i;
}

// A batch's losses, and the gradients of their mean by every parameter.
TrainingLosses losses_of(const GaussianDiffusion& diffusion, const UNet& unet, const Tensor& x0,
                         const Tensor& noise, const std::vector<std::int64_t>& t,
                         ParameterGradients* gradients) {
  const auto n = static_cast<std::int64_t>(t.size());
  TrainingLosses losses;
  const auto run = [&] {
    losses = training_losses(diffusion, model_of(unet, labels_of(unet, n)), x0,
                             Tensor::from(t, {n}), noise);
    return reduce_mean(losses.loss);
  };
  if (gradients)
    backward_microbatches(*gradients, n, 0, [&](std::int64_t, std::int64_t) { return run(); });
  else
    run();
  return losses;
}

std::vector<double> norms_of(const ParameterGradients& gradients) {
  std::vector<double> norms;
  for (const Tensor& g : gradients.all()) {
    double sum = 0;
    for (const double v : cast(g, DType::f64).value().to_vector<double>()) sum += v * v;
    norms.push_back(std::sqrt(sum));
  }
  return norms;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
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
    const Tensor x0 = array(file, name + ".x0"), noise = array(file, name + ".noise");
    ParameterGradients sums(unet.parameters());
    const TrainingLosses losses =
        losses_of(diffusion, unet, x0, noise, t, gradients ? &sums : nullptr);
    std::vector<double> exact(t.size(), 2e-5), bound = exact;
    for (std::size_t i = 0; i < t.size(); ++i)
      if (cancels(losses, t[i])) bound[i] = kCancelling;
    expect_values(file, key + ".loss", losses.loss, bound);
    expect_values(file, key + ".mse", losses.mse, exact);
    expect_values(file, key + ".vb", losses.vb, bound);
    if (!gradients) continue;

    const std::vector<double> theirs = file.read(key + ".gradnorm").to_vector<double>();
    const std::vector<double> ours = norms_of(sums);
    ASSERT_EQ(theirs.size(), ours.size());
    if (cancels(losses, t[0]) && diffusion.config().mean == MeanKind::x_start) {
      // A random network's x_0 is far off: probabilities of a few 6e-8, by which the gradient is
      // divided. Neither program's f32 is right; ours must be no farther from f64 than PyTorch's.
      const UNet wide = load_unet(folder, name, DType::f64);
      ParameterGradients truth(wide.parameters());
      losses_of(diffusion, wide, cast(x0, DType::f64).value(), cast(noise, DType::f64).value(), t,
                &truth);
      const std::vector<double> norms = norms_of(truth);
      EXPECT_LE(distance(ours, norms), 2 * distance(theirs, norms) + 1e-3 * truth.norm());
      continue;
    }
    const double whole = sums.norm(), limit = cancels(losses, t[0]) ? kCancelling : 1e-4;
    for (std::size_t i = 0; i < ours.size(); ++i) {
      const std::string& parameter = unet.parameters().all()[i].key;
      EXPECT_NEAR(ours[i], theirs[i], limit * theirs[i] + 1e-6 * whole) << parameter;
      if (parameter != "out.2.weight") continue;
      EXPECT_LT(relative_error(sums.all()[i], array(file, key + ".grad.out.2.weight")), limit);
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
