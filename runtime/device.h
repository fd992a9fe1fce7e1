#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace tiller {

/// Where bytes live and kernels run. `simt` runs the CUDA kernels on the host, thread by thread;
/// `meta` has shapes without bytes, for planning.
enum class DeviceType : std::uint8_t { cpu, cuda, simt, meta };

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;  ///< which GPU; 0 for every other type
  friend bool operator==(const Device&, const Device&) = default;
};

inline constexpr Device kCpu{DeviceType::cpu, 0};
inline constexpr Device kMeta{DeviceType::meta, 0};

const char* name(DeviceType type);

/// "cpu", "cuda:1", "meta".
std::string to_string(Device device);

/// The device of a flag's text: "cpu", "cuda", "cuda:1", "simt", "meta". Throws Error(usage).
Device parse_device(std::string_view text);

/// A queue of work on a device. On cpu and meta work is done when the call returns, and `handle` is
/// null; on cuda it is the cudaStream_t.
struct Stream {
  Device device;
  void* handle = nullptr;
};

/// The stream on which the calling thread launches work for `device`.
Stream current_stream(Device device);

/// Makes `stream` the calling thread's current stream of its device until the guard dies.
class StreamGuard {
 public:
  explicit StreamGuard(Stream stream);
  ~StreamGuard();
  StreamGuard(const StreamGuard&) = delete;
  StreamGuard& operator=(const StreamGuard&) = delete;

 private:
  Stream previous_;
};

}  // namespace tiller
