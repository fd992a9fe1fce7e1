#include "runtime/device.h"

#include <array>
#include <charconv>

#include "runtime/error.h"

namespace tiller {

namespace {
constexpr std::array<const char*, 4> kNames{"cpu", "cuda", "simt", "meta"};
thread_local std::array<Stream, 4> current_streams{
    Stream{{DeviceType::cpu, 0}}, Stream{{DeviceType::cuda, 0}}, Stream{{DeviceType::simt, 0}},
    Stream{{DeviceType::meta, 0}}};
}  // namespace

const char* name(DeviceType type) { return kNames[static_cast<std::size_t>(type)]; }

std::string to_string(Device device) {
  if (device.type != DeviceType::cuda) return name(device.type);
  return fmt::format("cuda:{}", device.index);
}

Device parse_device(std::string_view text) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    const std::string_view known = kNames[i];
    if (text == known) return {static_cast<DeviceType>(i), 0};
    if (known == "cuda" && text.starts_with("cuda:")) {
      int index = -1;
      const char* end = text.data() + text.size();
      const auto [parsed, error] = std::from_chars(text.data() + 5, end, index);
      if (error == std::errc() && parsed == end && index >= 0) return {DeviceType::cuda, index};
    }
  }
  fail(ErrorKind::usage,
       fmt::format("unknown device \"{}\": use cpu, cuda, cuda:N, simt or meta", text));
}

Stream current_stream(Device device) {
  Stream stream = current_streams[static_cast<std::size_t>(device.type)];
  if (stream.device.index != device.index) stream = Stream{device};
  return stream;
}

StreamGuard::StreamGuard(Stream stream)
    : previous_(current_streams[static_cast<std::size_t>(stream.device.type)]) {
  current_streams[static_cast<std::size_t>(stream.device.type)] = stream;
}

StreamGuard::~StreamGuard() {
  current_streams[static_cast<std::size_t>(previous_.device.type)] = previous_;
}

}  // namespace tiller
