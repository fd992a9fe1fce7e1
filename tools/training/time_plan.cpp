#include "tools/training/time_plan.h"

#include <algorithm>
#include <functional>

#include "autograd/ops.h"
#include "runtime/backend.h"
#include "runtime/random.h"
#include "tools/sampling/progress.h"

namespace tiller {

namespace {

constexpr int kTrials = 3;            // behind one that packs weights and wakes threads
constexpr double kLongEnough = 0.02;  // seconds: then a larger piece of work would tell no more
constexpr std::int64_t kSide = 16, kChannels = 128;
constexpr std::int64_t kMostPictures = 64;
constexpr std::int64_t kNumbers = std::int64_t{1} << 22;  // of each array: beyond most caches

double best_seconds(Device device, const std::function<void()>& work) {
  double best = 0;
  for (int trial = 0; trial <= kTrials; ++trial) {
    const std::int64_t begin = now_ns();
    work();
    backend(device).synchronize(current_stream(device));
    const double seconds = static_cast<double>(now_ns() - begin) * 1e-9;
    if (trial > 0) best = best == 0 ? seconds : std::min(best, seconds);
    if (trial > 0 && seconds > kLongEnough) break;
  }
  return best;
}

Tensor random_numbers(const Shape& shape, Device device) {
  const Tensor out = Tensor::empty(shape);
  fill_normal(out, {.seed = 1, .stream = RandomStream::step_noise});
  return out.to(device);
}

}  // namespace

Speed measure_speed(Device device, DType dtype, std::int64_t batch) {
  const NoGrad no_recording;
  Speed speed;
  const Var w = random_numbers({kChannels, 3, 3, kChannels}, device);
  // A device with much to fill wants many pictures, a slow one must not be kept busy with them.
  for (std::int64_t n = 1; n <= std::min(batch, kMostPictures); n *= 4) {
    const Var x = cast(random_numbers({n, kSide, kSide, kChannels}, device), dtype);
    const double flops = 2.0 * 9 * static_cast<double>(n * kSide * kSide * kChannels * kChannels);
    const double seconds =
        best_seconds(device, [&] { conv2d(x, w, {}, {.geometry = {.stride = 1, .pad = 1}}); });
    speed.flops_per_second = std::max(speed.flops_per_second, flops / seconds);
    if (seconds > kLongEnough) break;
  }
  const Var a = Tensor::zeros({kNumbers}).to(device), b = Tensor::zeros({kNumbers}).to(device);
  const double bytes = 3.0 * sizeof(float) * static_cast<double>(kNumbers);
  speed.bytes_per_second = bytes / best_seconds(device, [&] { add(a, b); });
  return speed;
}

double seconds_of(const PassPlan& pass, const Speed& speed) {
  double seconds = 0;
  for (const Cost& call : pass.calls)
    seconds += std::max(call.flops / speed.flops_per_second,
                        (call.bytes_read + call.bytes_written) / speed.bytes_per_second);
  return seconds;
}

double seconds_of_step(const PassPlan& pass, std::int64_t passes, std::int64_t parameters,
                       std::int64_t averages, const Speed& speed) {
  // AdamW reads weight, gradient and two moments and writes three of them; an average is read, read
  // against and written.
  const double bytes =
      static_cast<double>(7 + 3 * averages) * sizeof(float) * static_cast<double>(parameters);
  return static_cast<double>(passes) * seconds_of(pass, speed) + bytes / speed.bytes_per_second;
}

std::string time_in_words(double seconds, const Speed& speed, std::int64_t steps) {
  return fmt::format(
      "about {:.2g} s a step{}: an estimate from {:.3g} GFLOP/s of a convolution and {:.3g} GB/s "
      "of "
      "an addition, measured just now; the first steps correct it",
      seconds,
      steps > 0 ? fmt::format(", {} for {} steps", clock_time(seconds * static_cast<double>(steps)),
                              steps)
                : "",
      speed.flops_per_second / 1e9, speed.bytes_per_second / 1e9);
}

}  // namespace tiller
