#pragma once
// Proof of cost(): a reference row instantiated with Counted<double> counts its own arithmetic, and
// the distinct elements of its arguments that it reads and writes.
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/reference.h"

namespace tiller {

/// Counts flops, and distinct elements read and written within registered tensors.
class Counter {
 public:
  /// Watches a tensor's elements (f64, dense or a channel slice).
  void watch(const Tensor& t);
  void flop() { ++flops_; }
  void read(const void* address) { mark(address, 1); }
  void write(const void* address) { mark(address, 2); }
  double flops() const { return static_cast<double>(flops_); }
  /// Elements of `t` that were read (written) at least once.
  std::int64_t elements_read(const Tensor& t) const { return marked(t, 1); }
  std::int64_t elements_written(const Tensor& t) const { return marked(t, 2); }
  std::int64_t elements_read() const;  ///< over all watched tensors
  std::int64_t elements_written() const;

  static Counter*& current();

 private:
  struct Range {
    const double* begin;
    const double* end;
    std::vector<std::uint8_t> marks;
  };
  void mark(const void* address, std::uint8_t bit);
  std::int64_t marked(const Tensor& t, std::uint8_t bit) const;
  std::vector<Range> ranges_;
  std::uint64_t flops_ = 0;
};

/// A double that reports what is done to it to Counter::current(). Has the layout of double, so
/// that a f64 tensor's bytes can be read as Counted.
struct Counted {
  double v;
  Counted() = default;
  Counted(double x) : v(x) {}
  Counted(const Counted& o) : v(o.v) { Counter::current()->read(&o); }
  Counted& operator=(const Counted& o) {
    Counter::current()->read(&o);
    Counter::current()->write(this);
    v = o.v;
    return *this;
  }
  explicit operator double() const {
    Counter::current()->read(this);
    return v;
  }
  explicit operator float() const { return static_cast<float>(static_cast<double>(*this)); }
};
static_assert(sizeof(Counted) == sizeof(double));

namespace counted_detail {
inline double get(const Counted& x) { return static_cast<double>(x); }
inline Counted count(double x) {
  Counter::current()->flop();
  return x;
}
}  // namespace counted_detail

inline Counted operator+(const Counted& a, const Counted& b) {
  return counted_detail::count(counted_detail::get(a) + counted_detail::get(b));
}
inline Counted operator-(const Counted& a, const Counted& b) {
  return counted_detail::count(counted_detail::get(a) - counted_detail::get(b));
}
inline Counted operator*(const Counted& a, const Counted& b) {
  return counted_detail::count(counted_detail::get(a) * counted_detail::get(b));
}
inline Counted operator/(const Counted& a, const Counted& b) {
  return counted_detail::count(counted_detail::get(a) / counted_detail::get(b));
}
inline Counted operator-(const Counted& a) { return -counted_detail::get(a); }  // a sign flip: none
inline Counted& operator+=(Counted& a, const Counted& b) { return a = a + b; }
inline Counted& operator-=(Counted& a, const Counted& b) { return a = a - b; }
inline Counted& operator*=(Counted& a, const Counted& b) { return a = a * b; }
inline Counted& operator/=(Counted& a, const Counted& b) { return a = a / b; }
inline bool operator<(const Counted& a, const Counted& b) {
  return counted_detail::get(a) < counted_detail::get(b);
}
inline bool operator>(const Counted& a, const Counted& b) { return b < a; }
inline bool operator==(const Counted& a, const Counted& b) {
  return counted_detail::get(a) == counted_detail::get(b);
}
inline Counted exp(const Counted& x) {
  return counted_detail::count(std::exp(counted_detail::get(x)));
}
inline Counted log(const Counted& x) {
  return counted_detail::count(std::log(counted_detail::get(x)));
}
inline Counted sqrt(const Counted& x) {
  return counted_detail::count(std::sqrt(counted_detail::get(x)));
}
inline Counted tanh(const Counted& x) {
  return counted_detail::count(std::tanh(counted_detail::get(x)));
}
inline Counted sin(const Counted& x) {
  return counted_detail::count(std::sin(counted_detail::get(x)));
}
inline Counted cos(const Counted& x) {
  return counted_detail::count(std::cos(counted_detail::get(x)));
}
inline Counted pow(const Counted& x, const Counted& y) {
  return counted_detail::count(std::pow(counted_detail::get(x), counted_detail::get(y)));
}
inline Counted abs(const Counted& x) { return std::abs(counted_detail::get(x)); }
inline Counted max(const Counted& a, const Counted& b) { return a < b ? b : a; }
inline Counted min(const Counted& a, const Counted& b) { return b < a ? b : a; }

template <>
struct AccOf<Counted> {
  using type = Counted;
};
template <>
struct DTypeOf<Counted> {
  static constexpr DType value = DType::f64;
};

/// Counts on this thread while it lives.
class CountGuard {
 public:
  explicit CountGuard(Counter& counter) : previous_(Counter::current()) {
    Counter::current() = &counter;
  }
  ~CountGuard() { Counter::current() = previous_; }
  CountGuard(const CountGuard&) = delete;
  CountGuard& operator=(const CountGuard&) = delete;

 private:
  Counter* previous_;
};

inline Counter*& Counter::current() {
  static thread_local Counter idle;
  static thread_local Counter* counter = &idle;
  return counter;
}

inline void Counter::watch(const Tensor& t) {
  if (!t.defined() || t.numel() == 0) return;
  const auto* begin = static_cast<const double*>(t.raw());
  const std::int64_t span = (t.rows() - 1) * t.row_stride() + t.cols();
  ranges_.push_back(
      {begin, begin + span, std::vector<std::uint8_t>(static_cast<std::size_t>(span))});
}

inline void Counter::mark(const void* address, std::uint8_t bit) {
  const auto* at = static_cast<const double*>(address);
  for (Range& range : ranges_)
    if (at >= range.begin && at < range.end) {
      range.marks[static_cast<std::size_t>(at - range.begin)] |= bit;
      return;
    }
}

inline std::int64_t Counter::marked(const Tensor& t, std::uint8_t bit) const {
  std::int64_t n = 0;
  for (const Range& range : ranges_)
    if (range.begin == t.raw())
      for (const std::uint8_t mark : range.marks) n += (mark & bit) != 0;
  return n;
}

inline std::int64_t Counter::elements_read() const {
  std::int64_t n = 0;
  for (const Range& range : ranges_)
    for (const std::uint8_t mark : range.marks) n += (mark & 1) != 0;
  return n;
}

inline std::int64_t Counter::elements_written() const {
  std::int64_t n = 0;
  for (const Range& range : ranges_)
    for (const std::uint8_t mark : range.marks) n += (mark & 2) != 0;
  return n;
}

}  // namespace tiller
