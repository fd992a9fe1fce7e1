#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "runtime/backend.h"
#include "runtime/dtype.h"

namespace tiller {

class Tensor;

/// Values that somebody else holds, in another order and perhaps in half precision: element
/// [i][l][j] of a frozen tensor is values[i][j][l] of [outer][middle][inner], widened to f32. (Every
/// difference between PyTorch's layouts and ours is this one exchange; middle 1 is none.)
struct FrozenSource {
  const void* values = nullptr;  ///< on the host; null on meta
  DType dtype = DType::f32;      ///< f32, f16 or bf16
  std::int64_t outer = 1, middle = 1, inner = 1;
  std::shared_ptr<const void> owner;  ///< kept alive: a mapped file, or another storage
  std::int64_t numel() const { return outer * middle * inner; }
};

/// The bytes behind tensors: allocated on a device, borrowed from someone who is kept alive (a
/// mapped file), or frozen: there when they are asked for. Shared by all views of a tensor.
class Storage {
 public:
  /// Uninitialised bytes from the device's allocator. Throws Error(out_of_memory).
  static std::shared_ptr<Storage> allocate(std::size_t bytes, Device device);

  /// Bytes that belong to `owner` (for instance a mapped file), which is kept alive. Read-only use.
  static std::shared_ptr<Storage> borrow(const void* data, std::size_t bytes, Device device,
                                         std::shared_ptr<const void> owner);

  /// f32 values that stay where `source` has them. Rows that can read them there (the CPU's fast
  /// products) ask frozen(); for everybody else data() makes the bytes on first use, and release()
  /// gives them back. Not for weights that are trained. The device is cpu or meta.
  static std::shared_ptr<Storage> freeze(FrozenSource source, Device device);

  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  /// The bytes; null on meta. Frozen ones are made now if need be.
  void* data() const {
    void* const data = data_.load(std::memory_order_acquire);
    return data || !source_ ? data : thaw();
  }
  /// Where a frozen storage's values are; null for every other.
  const FrozenSource* frozen() const { return source_.get(); }
  /// Whether the bytes are in the device's memory: false for a frozen storage that nobody asked.
  bool resident() const { return !source_ || data_.load(std::memory_order_acquire) != nullptr; }
  /// Gives the bytes of a frozen storage back; nothing for every other. Whoever holds a pointer
  /// from data() must be done with it.
  void release();
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  bool borrowed() const { return owner_ != nullptr; }

  /// Counts writes by optimizers and loaders. Derived forms made from an older version are stale.
  std::uint64_t version() const { return version_.load(std::memory_order_relaxed); }
  /// Whoever wrote to a frozen storage's bytes has made them its own: it is frozen no more.
  void bump_version();

  /// A form computed from these bytes (a packed, flipped or half copy of a weight), made by `make`
  /// on first use and kept until the version moves. `key` names the form and must hold all that it
  /// depends on besides the bytes (offset and shape of the view: see derived() in
  /// runtime/tensor.h).
  Tensor derived(const std::string& key, const std::function<Tensor()>& make);

  /// Bytes held by all derived forms.
  std::size_t derived_bytes() const;

  /// Drops all derived forms.
  void drop_derived();

 private:
  Storage() = default;
  struct Derived;
  void* thaw() const;
  mutable std::atomic<void*> data_{nullptr};
  std::size_t bytes_ = 0;
  Device device_;
  Stream stream_;
  std::shared_ptr<const void> owner_;
  std::atomic<std::uint64_t> version_{0};
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::unique_ptr<Derived>> derived_;
  std::unique_ptr<const FrozenSource> source_;
};

}  // namespace tiller
