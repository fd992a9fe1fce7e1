#include "tools/training/time_plan.h"

#include <algorithm>
#include <functional>

#include "autograd/ops.h"
#include "runtime/backend.h"
#include "runtime/random.h"
#include "tools/sampling/progress.h"

namespace tiller {

namespace {

constexpr double kWindow = 0.06;     // seconds that are measured, for each of the two
constexpr double kTooShort = 0.005;  // a piece of work that says little about a busy device
constexpr std::int64_t kSide = 16, kChannels = 128;
constexpr std::int64_t kMostPictures = 64;
constexpr std::int64_t kNumbers = std::int64_t{1} << 22;  // of each array: beyond most caches

double seconds_once(Device device, const std::function<void()>& work) {
  const std::int64_t begin = now_ns();
  work();
  backend(device).synchronize(current_stream(device));
  return static_cast<double>(now_ns() - begin) * 1e-9;
}

// The mean, not the best: what others take of a shared machine will be taken of the steps, too.
double mean_seconds(Device device, const std::function<void()>& work) {
  double sum = 0;
  int count = 0;
  for (; sum < kWindow; ++count) sum += seconds_once(device, work);
  return sum / count;
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
  for (std::int64_t n = 1;; n *= 4) {
    const Var x = cast(random_numbers({n, kSide, kSide, kChannels}, device), dtype);
    const auto convolve = [&] { conv2d(x, w, {}, {.geometry = {.stride = 1, .pad = 1}}); };
    seconds_once(device, convolve);  // packs the weights and wakes threads
    if (n * 4 <= std::min(batch, kMostPictures) && seconds_once(device, convolve) < kTooShort)
      continue;
    speed.flops_per_second = 2.0 * 9 *
                             static_cast<double>(n * kSide * kSide * kChannels * kChannels) /
                             mean_seconds(device, convolve);
    break;
  }
  const Var a = Tensor::zeros({kNumbers}).to(device), b = Tensor::zeros({kNumbers}).to(device);
  const auto sum = [&] { add(a, b); };
  seconds_once(device, sum);
  speed.bytes_per_second =
      3.0 * sizeof(float) * static_cast<double>(kNumbers) / mean_seconds(device, sum);
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
      "about {} a step{}: an estimate from {:.3g} GFLOP/s of a convolution and {:.3g} GB/s of an "
      "addition, measured just now; the first steps correct it",
      seconds < 100 ? fmt::format("{:.2g} s", seconds) : clock_time(seconds),
      steps > 0 ? fmt::format(", {} for {} steps", clock_time(seconds * static_cast<double>(steps)),
                              steps)
                : "",
      speed.flops_per_second / 1e9, speed.bytes_per_second / 1e9);
}

}  // namespace tiller
