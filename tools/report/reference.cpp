#include "tools/report/reference.h"

#include <cmath>
#include <limits>

namespace tiller {

namespace {

template <class... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> text, Args&&... args) {
  fail(ErrorKind::checkpoint,
       "the reference does not fit: " + fmt::format(text, std::forward<Args>(args)...));
}

// Integers of any width, or floats, as f64: exact for labels and timesteps.
std::vector<double> read_numbers(const NpzReader& file, const std::string& name) {
  const Tensor t = file.read(name);
  std::vector<double> values;
  const auto take = [&](const auto& in) { values.assign(in.begin(), in.end()); };
  switch (t.dtype()) {
    case DType::i64:
      take(t.to_vector<std::int64_t>());
      break;
    case DType::i32:
      take(t.to_vector<std::int32_t>());
      break;
    case DType::i16:
      take(t.to_vector<std::int16_t>());
      break;
    case DType::i8:
      take(t.to_vector<std::int8_t>());
      break;
    case DType::u8:
      take(t.to_vector<std::uint8_t>());
      break;
    case DType::boolean:
      refuse("{} holds booleans, not numbers", name);
    default:
      take(cast_on_host(t, DType::f64).to_vector<double>());
      break;
  }
  return values;
}

// An array with one entry per picture.
void check_one_per_picture(const NpzReader& file, const char* name, const char* what,
                           std::int64_t pictures) {
  const std::vector<std::int64_t>& shape = file.info(name).shape;
  if (shape.size() != 1 || shape[0] != pictures)
    refuse("{} is {}, but x has {} pictures: it must be [{}], one {} each", name,
           to_string(Shape{std::span<const std::int64_t>(shape)}), pictures, pictures, what);
}

Tensor read_labels(const NpzReader& file) {
  const std::vector<double> numbers = read_numbers(file, "y");
  std::vector<std::int64_t> labels;
  for (const double v : numbers) {
    if (!(v >= 0 && v <= std::numeric_limits<std::int32_t>::max() && v == std::floor(v)))
      refuse("y holds {:g}, which is no class", v);
    labels.push_back(static_cast<std::int64_t>(v));
  }
  return Tensor::from(labels, {static_cast<std::int64_t>(labels.size())});
}

Tensor read_pictures(const NpzReader& file, const std::string& name) {
  const Tensor t = read_floats(file, name);
  if (t.rank() != 4) refuse("{} is {}; it must be [N,C,H,W]", name, to_string(t.shape()));
  if (t.numel() == 0) refuse("{} is {}: there is nothing in it", name, to_string(t.shape()));
  return channels_last(t);
}

void check_output(const NpzReader& file, const char* name, const Shape& expected) {
  if (!file.contains(name)) return;
  const Shape found{std::span<const std::int64_t>(file.info(name).shape)};
  if (found != expected)
    refuse("{} is {}, but the network gives {} for x", name, to_string(found), to_string(expected));
}

void check_pictures(const Tensor& x, std::int64_t channels, std::int64_t stride) {
  if (x.dim(3) != channels)
    refuse("x has {} channels, the network takes {}; x must be [N,{},H,W]", x.dim(3), channels,
           channels);
  if (x.dim(1) % stride != 0 || x.dim(2) % stride != 0)
    refuse("x is {}x{} pixels; this network takes multiples of {}", x.dim(1), x.dim(2), stride);
}

void check_labels(const ReferenceInputs& in, std::int64_t classes) {
  for (const std::int64_t label : in.y.to_vector<std::int64_t>())
    if (label >= classes) refuse("y holds class {}, the network knows 0 to {}", label, classes - 1);
}

void check_unet(const NpzReader& file, const ReferenceInputs& in, const UNet& network) {
  const UNetConfig& config = network.config();
  check_pictures(in.x, config.in_channels, network.stride());
  if (config.num_classes > 0 && !in.y)
    refuse("it has no y, and the network is class-conditional ({} classes)", config.num_classes);
  if (config.num_classes == 0 && in.y) refuse("it has y, but the network knows no classes");
  if (in.y) check_labels(in, config.num_classes);
  if (config.super_resolution && !in.low_res)
    refuse("it has no low_res, and the network is a super-resolution network");
  if (!config.super_resolution && in.low_res)
    refuse("it has low_res, but the network is no super-resolution network");
  if (in.low_res && (in.low_res.dim(0) != in.x.dim(0) || in.low_res.dim(3) != in.x.dim(3)))
    refuse("low_res has {} pictures of {} channels, x has {} of {}", in.low_res.dim(0),
           in.low_res.dim(3), in.x.dim(0), in.x.dim(3));
  check_output(file, "out", {in.x.dim(0), config.out_channels, in.x.dim(1), in.x.dim(2)});
}

void check_classifier(const NpzReader& file, const ReferenceInputs& in, const Classifier& network) {
  const ClassifierConfig& config = network.config();
  // The attention pool has a position for every pixel that is left; the others take any size.
  const bool fixed = config.pool == Pool::attention;
  check_pictures(in.x, config.in_channels, network.stride());
  if (fixed && (in.x.dim(1) != config.image_size || in.x.dim(2) != config.image_size))
    refuse("x is {}x{} pixels; this network's attention pool takes {}x{} only", in.x.dim(1),
           in.x.dim(2), config.image_size, config.image_size);
  if (in.y) check_labels(in, config.num_classes);
  check_output(file, "logits", {in.x.dim(0), config.num_classes});
  check_output(file, "grad", {in.x.dim(0), in.x.dim(3), in.x.dim(1), in.x.dim(2)});
}

}  // namespace

Tensor read_floats(const NpzReader& file, const std::string& name) {
  const Tensor t = file.read(name);
  if (!is_floating(t.dtype()))
    refuse("{} is {}; it must hold floating-point numbers", name, to_string(t));
  return cast_on_host(t, DType::f32);
}

ReferenceInputs read_reference_inputs(const NpzReader& file) {
  for (const char* name : {"x", "t"})
    if (!file.contains(name))
      refuse(
          "it has no array {}; it needs x [N,C,H,W] and t [N], y [N] for a class-conditional "
          "network, low_res for super-resolution, and out, or logits and grad "
          "(tools/dump_reference.py writes such a file)",
          name);
  ReferenceInputs in;
  in.x = read_pictures(file, "x");
  check_one_per_picture(file, "t", "timestep", in.x.dim(0));
  const std::vector<double> t = read_numbers(file, "t");
  in.t = Tensor::from(std::vector<float>(t.begin(), t.end()), {in.x.dim(0)});
  if (file.contains("y")) {
    check_one_per_picture(file, "y", "class", in.x.dim(0));
    in.y = read_labels(file);
  }
  if (file.contains("low_res")) in.low_res = read_pictures(file, "low_res");
  return in;
}

void check_reference_complete(const NpzReader& file, bool classifier) {
  const bool enough =
      classifier ? file.contains("logits") || file.contains("grad") : file.contains("out");
  if (!enough)
    refuse("it holds nothing to compare with: {}",
           classifier ? "a classifier's file needs logits, grad, or both"
                      : "a diffusion network's file needs out");
  if (classifier && file.contains("grad") && !file.contains("y"))
    refuse("it has grad but no y: the gradient is of log p(y | x)");
}

void check_reference_fits(const NpzReader& file, const ReferenceInputs& in,
                          const Network& network) {
  if (network.classifier)
    check_classifier(file, in, *network.classifier);
  else
    check_unet(file, in, *network.unet);
}

}  // namespace tiller
