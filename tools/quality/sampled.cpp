#include "tools/quality/sampled.h"

#include <algorithm>
#include <chrono>

#include "tools/quality/judge.h"

namespace tiller::quality {

namespace {

constexpr std::chrono::seconds kSaveInterval{60};

Tensor joined(const Tensor& a, const Tensor& b) {
  if (!a) return b;
  const Tensor out = Tensor::empty(a.shape().with(0, a.dim(0) + b.dim(0)), a.dtype());
  out.slice(0, a.dim(0)).copy_from(a);
  out.slice(a.dim(0), out.dim(0)).copy_from(b);
  return out;
}

}  // namespace

SampledScales::SampledScales(const std::vector<double>& scales, SampledOptions options)
    : scales_(scales), options_(std::move(options)) {
  for (std::size_t i = 0; i < scales_.size(); ++i)
    kept_.push_back(read_samples(path(i), settings(i)));
}

std::string SampledScales::path(std::size_t i) const {
  return fmt::format("{}/samples_scale_{:g}.npz", options_.folder, scales_[i]);
}

Settings SampledScales::settings(std::size_t i) const {
  Settings all = options_.settings;
  all["scale"] = fmt::format("{:g}", scales_[i]);
  all["guide"] = scales_[i] == 0 ? "none" : options_.guide;
  return all;
}

std::int64_t SampledScales::missing() const {
  std::int64_t count = 0;
  for (const SampleFile& file : kept_)
    count += std::max<std::int64_t>(0, options_.count - file.size());
  return count;
}

SampleFile SampledScales::take(std::size_t i, Drawer drawer,
                               const std::function<void(std::int64_t)>& on_step) {
  SampleFile& file = kept_[i];
  drawer.scale = scales_[i];
  const std::int64_t steps = drawer.diffusion->steps();
  const std::vector<std::int64_t> labels = labels_in_turn(options_.count, options_.classes);
  std::int64_t saved = file.size();
  const auto save = [&] {
    if (file.size() == saved) return;
    write_samples(path(i), file, settings(i));
    saved = file.size();
  };
  auto last = std::chrono::steady_clock::now();
  try {
    while (file.size() < options_.count) {
      const std::int64_t first = file.size(),
                         end = std::min(options_.count, first + options_.batch);
      drawer.on_step = [&](std::int64_t left) {
        if (on_step) on_step(drawn_ * steps + (end - first) * (steps - left));
      };
      const std::vector<std::int64_t> batch(labels.begin() + first, labels.begin() + end);
      file.pixels = joined(file.pixels, draw_samples(drawer, batch, first));
      file.labels.insert(file.labels.end(), batch.begin(), batch.end());
      drawn_ += end - first;
      const auto now = std::chrono::steady_clock::now();
      if (now - last < kSaveInterval) continue;
      save();
      last = now;
    }
  } catch (const Error& error) {
    save();
    throw Error(error.kind(),
                file.size() == 0
                    ? std::string(error.what())
                    : fmt::format("{}; {} of {} samples of scale {:g} stay in {}, and the same "
                                  "command goes on from there",
                                  error.what(), file.size(), options_.count, scales_[i], path(i)));
  }
  save();
  SampleFile taken{file.pixels.slice(0, options_.count), labels};
  file = {};  // one scale's pictures at a time
  return taken;
}

}  // namespace tiller::quality
