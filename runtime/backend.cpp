#include "runtime/backend.h"

#include <array>
#include <map>
#include <mutex>

#include "runtime/accelerators.h"
#include "runtime/cpu_backend.h"
#include "runtime/error.h"
#include "runtime/meta_backend.h"

namespace tiller {

namespace {
using Make = Backend& (*)(int);

std::array<Make, 4>& makers() {
  static std::array<Make, 4> table{cpu_backend, cuda_backend(), simt_backend(), meta_backend};
  return table;
}
}  // namespace

void register_backend(DeviceType type, Make make) {
  makers()[static_cast<std::size_t>(type)] = make;
}

Backend& backend(Device device) {
  const Make make = makers()[static_cast<std::size_t>(device.type)];
  if (!make)
    fail(ErrorKind::usage,
         fmt::format("this program was built without the {} device; use --device cpu{}",
                     name(device.type),
                     device.type == DeviceType::cuda ? ", or build the cmake preset cuda" : ""));
  return make(device.index);
}

void Backend::begin_capture(Stream stream) {
  fail(ErrorKind::failed, fmt::format("{} captures no graphs", name(stream.device.type)));
}

std::unique_ptr<Graph> Backend::end_capture(Stream stream) {
  fail(ErrorKind::failed, fmt::format("{} captures no graphs", name(stream.device.type)));
}

bool available(Device device) {
  try {
    backend(device);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace tiller
