#pragma once
#include <cstddef>
#include <cstdint>

namespace tiller {

/// Divides a row's workspace into arrays. Over a null base it only measures, so that the same code
/// says how much a call needs and then lays it out.
class Arena {
 public:
  explicit Arena(void* base) : base_(static_cast<std::byte*>(base)) {}

  /// Room for `count` elements on a cache line of its own; null while measuring.
  template <class T>
  T* take(std::int64_t count) {
    T* at = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return at;
  }
  std::size_t used() const { return used_; }
  bool measuring() const { return base_ == nullptr; }

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

}  // namespace tiller
