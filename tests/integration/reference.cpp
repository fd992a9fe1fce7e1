#include "tests/integration/reference.h"

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace tiller::test {

std::string data(const std::string& name) { return TILLER_TEST_DATA "/" + name; }

std::string reference_folder() {
  const char* folder = std::getenv("TILLER_REFERENCE_DIR");
  return folder ? folder : "";
}

const nlohmann::json& reference_index() {
  static const nlohmann::json index = [] {
    std::ifstream file(data("index.json"));
    return nlohmann::json::parse(file);
  }();
  return index;
}

namespace {

// "8,4" or [8, 4].
std::vector<std::int64_t> integers(const nlohmann::json& list) {
  if (list.is_array()) return list.get<std::vector<std::int64_t>>();
  std::vector<std::int64_t> out;
  std::stringstream text(list.get<std::string>());
  for (std::string item; std::getline(text, item, ',');) out.push_back(std::stoll(item));
  return out;
}

std::vector<double> multipliers(const nlohmann::json& list) {
  if (list.is_array()) return list.get<std::vector<double>>();
  std::vector<double> out;
  std::stringstream text(list.get<std::string>());
  for (std::string item; std::getline(text, item, ',');) out.push_back(std::stod(item));
  return out;
}

}  // namespace

UNetConfig unet_config(const nlohmann::json& flags) {
  UNetConfig config;
  config.super_resolution = flags.contains("large_size");
  config.image_size = flags.at(config.super_resolution ? "large_size" : "image_size");
  config.out_channels = flags.at("learn_sigma") ? 6 : 3;
  config.model_channels = flags.at("num_channels");
  config.num_res_blocks = flags.at("num_res_blocks");
  config.attention_downsample.clear();
  for (const std::int64_t size : integers(flags.at("attention_resolutions")))
    config.attention_downsample.push_back(config.image_size / size);
  config.channel_mult = multipliers(flags.at("channel_mult"));
  config.num_heads = flags.at("num_heads");
  config.num_head_channels = flags.at("num_head_channels");
  config.num_heads_upsample = flags.at("num_heads_upsample");
  config.num_classes = flags.at("class_cond") ? 1000 : 0;
  config.dropout = flags.at("dropout");
  config.use_scale_shift_norm = flags.at("use_scale_shift_norm");
  config.resblock_updown = flags.at("resblock_updown");
  config.qkv_order =
      flags.value("use_new_attention_order", false) ? QkvOrder::split : QkvOrder::legacy;
  return config;
}

ClassifierConfig classifier_config(const nlohmann::json& flags) {
  ClassifierConfig config;
  config.image_size = flags.at("image_size");
  config.attention_downsample.clear();
  if (flags.contains("classifier_width")) {  // the flags of classifier_sample.py
    config.num_classes = 1000;
    config.model_channels = flags.at("classifier_width");
    config.num_res_blocks = flags.at("classifier_depth");
    for (const std::int64_t size : integers(flags.at("classifier_attention_resolutions")))
      config.attention_downsample.push_back(config.image_size / size);
    config.use_scale_shift_norm = flags.at("classifier_use_scale_shift_norm");
    config.resblock_updown = flags.at("classifier_resblock_updown");
    config.pool = parse_pool(flags.at("classifier_pool"));
    return config;
  }
  config.num_classes = flags.at("out_channels");  // the constructor's own arguments
  config.model_channels = flags.at("model_channels");
  config.num_res_blocks = flags.at("num_res_blocks");
  config.attention_downsample = integers(flags.at("attention_resolutions"));
  config.channel_mult = multipliers(flags.at("channel_mult"));
  config.num_head_channels = flags.at("num_head_channels");
  config.use_scale_shift_norm = flags.at("use_scale_shift_norm");
  config.resblock_updown = flags.at("resblock_updown");
  config.pool = parse_pool(flags.at("pool"));
  return config;
}

DiffusionConfig process_config(const nlohmann::json& flags, const std::string& timestep_respacing) {
  return diffusion_config(flags.at("diffusion_steps"), flags.at("noise_schedule"),
                          timestep_respacing, flags.at("learn_sigma"),
                          flags.value("sigma_small", false), flags.at("use_kl"),
                          flags.at("predict_xstart"), flags.at("rescale_timesteps"),
                          flags.at("rescale_learned_sigmas"));
}

UNet load_unet(const std::string& folder, const std::string& name, DType dtype) {
  const auto source = load_parameters(Checkpoint::open(folder + "/" + name + ".pt"), dtype);
  return UNet(unet_config(reference_index().at(name).at("flags")), *source);
}

Classifier load_classifier(const std::string& folder, const std::string& name) {
  const auto source = load_parameters(Checkpoint::open(folder + "/" + name + ".pt"));
  return Classifier(classifier_config(reference_index().at(name).at("flags")), *source);
}

Tensor channels_last(const Tensor& t) {
  return from_file_layout(t, {t.dim(0), t.dim(2), t.dim(3), t.dim(1)}, FileLayout::oihw);
}

Tensor array(const NpzReader& file, const std::string& name) {
  const Tensor t = file.read(name);
  return t.rank() == 4 && t.dtype() != DType::u8 ? channels_last(t) : t;
}

NoiseSource recorded_noise(const Tensor& noise) {
  return [noise](std::int64_t draw, const Shape& shape) {
    const Tensor one = noise.slice(draw, draw + 1)
                           .reshape({noise.dim(1), noise.dim(2), noise.dim(3), noise.dim(4)});
    const Tensor out = channels_last(one);
    EXPECT_EQ(out.shape(), shape);
    return out;
  };
}

Model model_of(const UNet& unet, const Tensor& y, const Tensor& low_res) {
  return [&unet, y, low_res](const Var& x_t, const Tensor& timestep) {
    return unet(x_t, timestep, y, low_res.defined() ? Var(low_res) : Var());
  };
}

Guide guide_of(const Classifier& classifier, const Tensor& y, double scale) {
  return [&classifier, y, scale](const Tensor& x_t, const Tensor& timestep) {
    return affine(classifier.log_prob_gradient(x_t, timestep, y), scale, 0).value();
  };
}

std::vector<std::uint8_t> pixels(const Tensor& x) {
  std::vector<std::uint8_t> out;
  for (const float v : x.to_vector<float>()) {
    const float scaled = (v + 1) * 127.5f;
    out.push_back(static_cast<std::uint8_t>(std::min(255.f, std::max(0.f, scaled))));
  }
  return out;
}

PixelDifference compare_pixels(const std::vector<std::uint8_t>& ours, const Tensor& theirs) {
  const std::vector<std::uint8_t> expected = theirs.to_vector<std::uint8_t>();
  PixelDifference out;
  EXPECT_EQ(ours.size(), expected.size());
  out.total = static_cast<std::int64_t>(expected.size());
  for (std::size_t i = 0; i < std::min(ours.size(), expected.size()); ++i) {
    const int difference = std::abs(static_cast<int>(ours[i]) - static_cast<int>(expected[i]));
    out.differing += difference != 0;
    out.largest = std::max(out.largest, difference);
  }
  return out;
}

double relative_error(const Tensor& a, const Tensor& b) {
  const auto doubles = [](const Tensor& t) {
    if (t.dtype() == DType::f64) return t.to_vector<double>();
    const std::vector<float> values = t.to_vector<float>();
    return std::vector<double>(values.begin(), values.end());
  };
  EXPECT_EQ(a.shape(), b.shape());
  if (a.shape() != b.shape()) return INFINITY;
  const std::vector<double> x = doubles(a), y = doubles(b);
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    difference += (x[i] - y[i]) * (x[i] - y[i]);
    norm += y[i] * y[i];
  }
  const double error = std::sqrt(norm > 0 ? difference / norm : difference);
  return std::isfinite(error) ? error : INFINITY;
}

}  // namespace tiller::test
