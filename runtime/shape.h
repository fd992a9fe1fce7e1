#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace tiller {

/// Up to six dimensions, held inline. Dimensions are never negative.
class Shape {
 public:
  static constexpr int kMaxRank = 6;
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const std::int64_t> dims);  ///< throws Error beyond six dimensions

  int rank() const { return rank_; }
  std::int64_t operator[](int i) const {
    return dims_[static_cast<std::size_t>(i < 0 ? i + rank_ : i)];
  }
  std::int64_t numel() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= dims_[static_cast<std::size_t>(i)];
    return n;
  }
  const std::int64_t* begin() const { return dims_.data(); }
  const std::int64_t* end() const { return dims_.data() + rank_; }
  std::span<const std::int64_t> dims() const { return {begin(), end()}; }
  /// A copy with dimension i replaced; negative i counts from the end.
  Shape with(int i, std::int64_t n) const {
    Shape s = *this;
    s.dims_[static_cast<std::size_t>(i < 0 ? i + rank_ : i)] = n;
    return s;
  }
  friend bool operator==(const Shape& a, const Shape& b) {
    return a.rank_ == b.rank_ && a.dims_ == b.dims_;
  }

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

/// "[2,64,64,192]".
std::string to_string(const Shape& shape);
std::string to_string(std::span<const std::int64_t> dims);

}  // namespace tiller
