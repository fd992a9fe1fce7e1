#pragma once
// What a device can do with bytes: hand them out, copy them, fill them. Everything else a device
// does is a kernel row.
#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/device.h"

namespace tiller {

/// Bytes handed out by a device's allocator.
struct MemoryStats {
  std::size_t live = 0;           ///< in use now
  std::size_t peak = 0;           ///< most ever in use since reset_peak()
  std::size_t cached = 0;         ///< held for reuse, not in use
  std::uint64_t allocations = 0;  ///< calls to allocate()
};

/// One device's memory. Blocks are aligned to 64 bytes or more. A freed block is cached and reused
/// in stream order: on a GPU it may be handed out again before the work that used it is done, to
/// later work on the same stream.
class Backend {
 public:
  virtual ~Backend() = default;
  /// At least `bytes` bytes, or null for 0 bytes. Throws Error(out_of_memory).
  virtual void* allocate(std::size_t bytes, Stream stream) = 0;
  virtual void deallocate(void* data, std::size_t bytes, Stream stream) noexcept = 0;
  /// Copies between this device and host memory, or within the device, in stream order.
  virtual void copy_from_host(void* to, const void* from, std::size_t bytes, Stream stream) = 0;
  virtual void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) = 0;
  virtual void copy(void* to, const void* from, std::size_t bytes, Stream stream) = 0;
  virtual void fill(void* to, int byte, std::size_t bytes, Stream stream) = 0;
  /// Waits until all work on the stream is done.
  virtual void synchronize(Stream stream) = 0;
  virtual MemoryStats memory() const = 0;
  virtual void reset_peak() = 0;
  /// Gives cached blocks back to the system.
  virtual void release_cached() = 0;
  /// One line for people: processor or GPU name, cores, memory.
  virtual std::string describe() const = 0;
};

/// The backend of a device. Throws Error(usage) for a device that this program was built without or
/// that this machine lacks, saying which of the two and what to do.
Backend& backend(Device device);

/// Whether backend(device) would succeed.
bool available(Device device);

/// Registers the backend of a device type; the CUDA and simt libraries call it at start-up.
void register_backend(DeviceType type, Backend& (*make)(int index));

}  // namespace tiller
