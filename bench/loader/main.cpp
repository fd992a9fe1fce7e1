// tiller_bench_loader PATH [SIZE [SECONDS]]: how many pictures a second a training could be fed.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "tools/data/loader.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Decoded, cropped at random, mirrored, made into batches of 64, behind one epoch or half the time
// that warms up (and fills the cache, where there is one).
double pictures_per_second(const std::shared_ptr<const tiller::Dataset>& data, std::int64_t size,
                           int threads, double seconds) {
  tiller::Loader loader(data, {.batch_size = 64,
                               .image_size = size,
                               .random_crop = true,
                               .random_flip = true,
                               .threads = threads});
  const auto run = [&](double limit, std::int64_t most) {
    const auto start = Clock::now();
    std::int64_t count = 0;
    while (seconds_since(start) < limit && count < most) count += loader.next().x.dim(0);
    return static_cast<double>(count) / seconds_since(start);
  };
  run(seconds / 2, data->size());
  return run(seconds, std::int64_t{1} << 40);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    fmt::print(stderr, "usage: tiller_bench_loader PATH [SIZE [SECONDS]]\n");
    return 2;
  }
  const std::int64_t size = argc > 2 ? std::atoll(argv[2]) : 64;
  const double seconds = argc > 3 ? std::atof(argv[3]) : 2;
  const int most = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  try {
    for (const std::size_t cache : {std::size_t{0}, tiller::DatasetOptions{}.cache_bytes}) {
      const auto data = tiller::open_dataset(
          argv[1], {.labels = tiller::LabelSource::none, .cache_bytes = cache});
      if (cache == 0) fmt::print("{}, to {}x{}\n", data->description(), size, size);
      for (int threads = 1; threads <= most; threads *= 2)
        fmt::print("{:>3} threads, {:<22} {:>9.0f} pictures/s\n", threads,
                   cache == 0 ? "decoding each time" : "kept where they fit",
                   pictures_per_second(data, size, threads, seconds));
    }
  } catch (const tiller::Error& error) {
    fmt::print(stderr, "tiller_bench_loader: {}\n", error.what());
    return error.exit_code();
  }
  return 0;
}
