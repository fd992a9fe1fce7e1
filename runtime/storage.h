#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "runtime/backend.h"

namespace tiller {

class Tensor;

/// The bytes behind tensors: allocated on a device, or borrowed from someone who is kept alive (a
/// mapped file). Shared by all views of a tensor.
class Storage {
 public:
  /// Uninitialised bytes from the device's allocator. Throws Error(out_of_memory).
  static std::shared_ptr<Storage> allocate(std::size_t bytes, Device device);

  /// Bytes that belong to `owner` (for instance a mapped file), which is kept alive. Read-only use.
  static std::shared_ptr<Storage> borrow(const void* data, std::size_t bytes, Device device,
                                         std::shared_ptr<const void> owner);

  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }  ///< null on meta
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  bool borrowed() const { return owner_ != nullptr; }

  /// Counts writes by optimizers and loaders. Derived forms made from an older version are stale.
  std::uint64_t version() const { return version_.load(std::memory_order_relaxed); }
  void bump_version() { version_.fetch_add(1, std::memory_order_relaxed); }

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
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  Device device_;
  Stream stream_;
  std::shared_ptr<const void> owner_;
  std::atomic<std::uint64_t> version_{0};
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::unique_ptr<Derived>> derived_;
};

}  // namespace tiller
