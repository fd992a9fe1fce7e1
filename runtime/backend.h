#pragma once
// What a device can do with bytes: hand them out, copy them, fill them. Everything else a device
// does is a kernel row.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "runtime/device.h"

namespace tiller {

/// Bytes handed out by a device's allocator.
struct MemoryStats {
  std::size_t live = 0;           ///< in use now
  std::size_t peak = 0;           ///< most ever in use since reset_peak()
  std::size_t cached = 0;         ///< held for reuse, not in use
  std::uint64_t allocations = 0;  ///< calls to allocate()
  std::uint64_t segments = 0;     ///< of these, how many went on to the system (accelerators)
};

/// Work of a device that was captured, and runs again and again with one launch.
class Graph {
 public:
  virtual ~Graph() = default;
  /// Runs it in the order of `stream`, at the addresses that were captured.
  virtual void replay(Stream stream) = 0;
  /// Kernels, copies and fills.
  virtual std::size_t nodes() const = 0;
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

  // What only accelerators have; runtime/graph.h is the door to it.

  /// Streams beside the default one, made on first use: the handle of a Stream.
  virtual void* side_stream(int) { return nullptr; }
  /// Work that `later` is given from now on waits for all that `earlier` was given so far.
  virtual void order(Stream /*earlier*/, Stream /*later*/) {}
  /// Whether work can be captured. From begin_capture() to end_capture() what the stream (and those
  /// ordered behind it) is given is recorded and not run; the bytes of tensors are not to be looked
  /// at. Copies from and to the host and synchronize() are errors meanwhile: the graph could not
  /// repeat them.
  virtual bool captures() const { return false; }
  virtual void begin_capture(Stream stream);
  virtual std::unique_ptr<Graph> end_capture(Stream stream);
  /// Ends a capture in which something failed.
  virtual void abandon_capture(Stream) noexcept {}
  /// How often the host waited for the device, or copied from or to it.
  virtual std::uint64_t host_waits() const { return 0; }
};

/// The backend of a device. Throws Error(usage) for a device that this program was built without or
/// that this machine lacks, saying which of the two and what to do.
Backend& backend(Device device);

/// Whether backend(device) would succeed.
bool available(Device device);

/// Registers the backend of a device type; the CUDA and simt libraries call it at start-up.
void register_backend(DeviceType type, Backend& (*make)(int index));

}  // namespace tiller
