// Parameters that come from no file: created, randomised, or only listed.
#include <cmath>

#include "nn/frozen.h"
#include "nn/scope.h"
#include "runtime/random.h"

namespace tiller {

namespace {
// `values` (f32, host) as a parameter of this dtype on this device.
Tensor parameter_of(const std::vector<float>& values, const Shape& shape, DType dtype,
                    Device device) {
  const Tensor host = Tensor::from(values, shape);
  return (dtype == DType::f32 ? host : cast_on_host(host, dtype)).to(device);
}

std::vector<float> draw(const RandomKey& key, std::int64_t n, const Init& init) {
  std::vector<float> values(static_cast<std::size_t>(n));
  const auto scale = static_cast<float>(init.scale);
  switch (init.kind) {
    case Init::Kind::zeros:
      break;
    case Init::Kind::ones:
      std::fill(values.begin(), values.end(), 1.f);
      break;
    case Init::Kind::uniform:
      philox_uniform(key, n, values.data());
      for (float& v : values) v = (2 * v - 1) * scale;
      break;
    case Init::Kind::normal:
      philox_normal(key, n, values.data());
      for (float& v : values) v *= scale;
      break;
  }
  return values;
}

class Created final : public ParameterSource {
 public:
  Created(std::uint64_t seed, DType dtype, Device device)
      : seed_(seed), dtype_(dtype), device_(device) {}
  Tensor get(const std::string&, const Shape& shape, const std::vector<std::int64_t>& file_shape,
             FileLayout layout, const Init& init) override {
    const RandomKey key{seed_, position_++, 0, RandomStream::init};
    // Drawn in the file's order, so that what a seed means does not depend on how we lay out
    // weights.
    const Shape file{std::span<const std::int64_t>(file_shape)};
    const Tensor value = parameter_of(draw(key, shape.numel(), init), file, dtype_, kCpu);
    return from_file_layout(value, shape, layout).to(device_);
  }

 private:
  std::uint64_t seed_;
  std::uint32_t position_ = 0;
  DType dtype_;
  Device device_;
};

class Randomized final : public ParameterSource {
 public:
  Randomized(std::uint64_t seed, DType dtype, Device device)
      : seed_(seed), dtype_(dtype), device_(device) {}
  Tensor get(const std::string&, const Shape& shape, const std::vector<std::int64_t>&, FileLayout,
             const Init& init) override {
    const RandomKey key{seed_, position_++, 0, RandomStream::init};
    std::vector<float> values;
    if (init.kind == Init::Kind::uniform || init.kind == Init::Kind::normal) {
      values = draw(key, shape.numel(), init);
    } else if (init.kind == Init::Kind::ones) {  // a norm's scale, around one
      values = draw(key, shape.numel(), Init::normal(0.1));
      for (float& v : values) v += 1;
    } else {  // a zeroed matrix as if it were not, or a bias
      const std::int64_t fan_in = shape.rank() > 1 ? shape.numel() / shape[0] : 100;
      values = draw(key, shape.numel(), Init::uniform(1 / std::sqrt(static_cast<double>(fan_in))));
    }
    return parameter_of(values, shape, dtype_, device_);
  }

 private:
  std::uint64_t seed_;
  std::uint32_t position_ = 0;
  DType dtype_;
  Device device_;
};

class Listed final : public ParameterSource {
 public:
  explicit Listed(DType dtype) : dtype_(dtype) {}
  Tensor get(const std::string&, const Shape& shape, const std::vector<std::int64_t>&, FileLayout,
             const Init&) override {
    return Tensor::empty(shape, dtype_, kMeta);
  }

 private:
  DType dtype_;
};

class ListedFrozen final : public ParameterSource {
 public:
  Tensor get(const std::string&, const Shape& shape, const std::vector<std::int64_t>&,
             FileLayout layout, const Init&) override {
    return shape.rank() > 1 ? frozen_shape(shape, layout) : Tensor::empty(shape, DType::f32, kMeta);
  }
};
}  // namespace

std::unique_ptr<ParameterSource> create_parameters(std::uint64_t seed, DType dtype, Device device) {
  return std::make_unique<Created>(seed, dtype, device);
}
std::unique_ptr<ParameterSource> randomize_parameters(std::uint64_t seed, DType dtype,
                                                      Device device) {
  return std::make_unique<Randomized>(seed, dtype, device);
}
std::unique_ptr<ParameterSource> list_parameters(DType dtype) {
  return std::make_unique<Listed>(dtype);
}
std::unique_ptr<ParameterSource> list_frozen_parameters() {
  return std::make_unique<ListedFrozen>();
}

}  // namespace tiller
