#include "tools/sampling/draws.h"

#include "runtime/files/checkpoint.h"
#include "runtime/files/npz.h"
#include "runtime/random.h"
#include "tools/network.h"

namespace tiller {

namespace {

std::vector<std::int64_t> indexed_labels(const ClassChoice& classes, std::int64_t first,
                                         std::int64_t n, std::uint64_t seed) {
  std::vector<std::int64_t> labels;
  for (std::int64_t i = first; i < first + n; ++i) labels.push_back(classes.label(i, seed));
  return labels;
}

class PhiloxDraws final : public Draws {
 public:
  explicit PhiloxDraws(std::uint64_t seed) : seed_(seed) {}
  std::vector<std::int64_t> labels(const ClassChoice& classes, std::int64_t first,
                                   std::int64_t n) override {
    return indexed_labels(classes, first, n, seed_);
  }
  NoiseSource noise(std::int64_t first) override {
    return philox_noise(seed_, static_cast<std::uint32_t>(first));
  }
  std::optional<StepNoise> step_noise(std::int64_t first) const override {
    return StepNoise{seed_, static_cast<std::uint32_t>(first)};
  }

 private:
  std::uint64_t seed_;
};

class TorchCpuDraws final : public Draws {
 public:
  explicit TorchCpuDraws(std::uint64_t seed) : generator_(seed) {}
  std::vector<std::int64_t> labels(const ClassChoice& classes, std::int64_t first,
                                   std::int64_t n) override {
    if (classes.random()) return generator_.randint(classes.num_classes(), n);
    return indexed_labels(classes, first, n, 0);
  }
  NoiseSource noise(std::int64_t) override {
    return [this](std::int64_t, const Shape& shape) {
      const std::vector<float> values = generator_.randn(shape.numel());
      // PyTorch's pictures are [N,C,H,W]: that is the order in which it draws.
      return channels_last(Tensor::from(values, {shape[0], shape[3], shape[1], shape[2]}));
    };
  }
  bool full_batches() const override { return true; }

 private:
  TorchCpuGenerator generator_;
};

}  // namespace

std::unique_ptr<Draws> philox_draws(std::uint64_t seed) {
  return std::make_unique<PhiloxDraws>(seed);
}

std::unique_ptr<Draws> torch_cpu_draws(std::uint64_t seed) {
  return std::make_unique<TorchCpuDraws>(seed);
}

NoiseFile::NoiseFile(const std::string& path, std::uint64_t seed) : seed_(seed) {
  const NpzReader file = NpzReader::open(path);
  TILLER_CHECK_FILE(file.contains("noise"),
                    "--noise {}: the file has no array noise [draws,N,C,H,W]: the start, then one "
                    "draw per step",
                    path);
  const Tensor noise = file.read("noise");
  TILLER_CHECK_FILE(noise.rank() == 5 && is_floating(noise.dtype()) && noise.numel() > 0,
                    "--noise {}: noise is {}; it must hold floating-point numbers "
                    "[draws,N,C,H,W]: the start, then one draw per step",
                    path, to_string(noise));
  noise_ = cast_on_host(noise, DType::f32);
}

std::vector<std::int64_t> NoiseFile::labels(const ClassChoice& classes, std::int64_t first,
                                            std::int64_t n) {
  return indexed_labels(classes, first, n, seed_);
}

NoiseSource NoiseFile::noise(std::int64_t first) {
  return [this, first](std::int64_t draw, const Shape& shape) {
    const Tensor all = noise_.slice(draw, draw + 1)
                           .reshape({samples(), channels(), height(), width()});  // [N,C,H,W]
    return channels_last(all.slice(first, first + shape[0]));
  };
}

}  // namespace tiller
