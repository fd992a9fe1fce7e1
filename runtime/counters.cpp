#include "runtime/counters.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "runtime/backend.h"

namespace tiller {

namespace {

constexpr std::int64_t kFirst = 4096;  // more than most networks ever ask for

struct Run {
  std::uint32_t* data;
  std::int64_t count;
};
// By stream. The last run is the one that is handed out; captured graphs may use the others.
using Runs = std::map<std::tuple<DeviceType, int, void*>, std::vector<Run>>;
thread_local Runs all_runs;

Run make(Stream stream, std::int64_t count) {
  Backend& device = backend(stream.device);
  device.synchronize(stream);  // an error within a capture
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(std::uint32_t);
  void* data = device.allocate(bytes, stream);
  device.fill(data, 0, bytes, stream);
  return {static_cast<std::uint32_t*>(data), count};
}

}  // namespace

std::uint32_t* counters(Stream stream, std::int64_t count) {
  std::vector<Run>& runs = all_runs[{stream.device.type, stream.device.index, stream.handle}];
  if (runs.empty() || runs.back().count < count)
    runs.push_back(make(stream, std::max(count, runs.empty() ? kFirst : 2 * runs.back().count)));
  return runs.back().data;
}

std::int64_t clear_simt_counters() {
  std::int64_t used = 0;
  for (auto& [stream, runs] : all_runs) {
    if (std::get<DeviceType>(stream) != DeviceType::simt) continue;
    for (const Run& run : runs)
      for (std::int64_t i = 0; i < run.count; ++i)
        if (std::exchange(run.data[i], 0) != 0) ++used;
  }
  return used;
}

}  // namespace tiller
