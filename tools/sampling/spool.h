#pragma once
#include <cstdint>
#include <string>

#include "runtime/tensor.h"

namespace tiller {

/// The pictures of a run until its end, when their number is known: a nameless file in the run's
/// folder, which vanishes with the program however that ends.
class Spool {
 public:
  /// Of u8 pictures [H,W,C]. Throws Error(failed), e.g. for a folder that cannot be written.
  Spool(const std::string& folder, const Shape& picture);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;
  std::int64_t size() const { return size_; }
  void append(const Tensor& picture);
  /// Pictures first .. first + n - 1: u8 [n,H,W,C].
  Tensor read(std::int64_t first, std::int64_t n) const;

 private:
  std::string folder_;
  Shape picture_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;
};

}  // namespace tiller
