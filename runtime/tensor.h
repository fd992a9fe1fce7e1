#pragma once
#include <concepts>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/error.h"
#include "runtime/shape.h"
#include "runtime/storage.h"

namespace tiller {

/// A value handle on an array: shape, dtype, device, shared storage, offset and row stride. Copying
/// a Tensor copies the handle, not the bytes.
///
/// Layout: channels last is the logical order everywhere (images [N,H,W,C], tokens [N,T,C], weights
/// [K,R,S,C]). A tensor is rows() rows of cols() contiguous elements; rows are row_stride()
/// elements apart. row_stride() exceeds cols() only in a channel slice, the one strided view there
/// is.
class Tensor {
 public:
  Tensor() = default;

  /// Uninitialised elements. Throws Error(out_of_memory).
  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = kCpu);
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = kCpu);
  /// Copies host values, whose count must be shape.numel(), to the device.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape, Device device = kCpu);
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape, Device device = kCpu) {
    return from(std::span<const T>(values), shape, device);
  }
  /// A view of `storage` from element `offset` on; `row_stride` 0 means dense.
  static Tensor view(std::shared_ptr<Storage> storage, const Shape& shape, DType dtype,
                     std::int64_t offset = 0, std::int64_t row_stride = 0);
  /// As empty(), with the dtype and device of `like`.
  static Tensor empty_like(const Tensor& like) {
    return empty(like.shape(), like.dtype(), like.device());
  }

  bool defined() const { return storage_ != nullptr; }
  explicit operator bool() const { return defined(); }

  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  std::int64_t dim(int i) const { return shape_[i]; }
  std::int64_t numel() const { return shape_.numel(); }
  /// Length of the last dimension (1 for a scalar), and the product of the others.
  std::int64_t cols() const { return rank() == 0 ? 1 : shape_[-1]; }
  std::int64_t rows() const { return cols() == 0 ? 0 : numel() / cols(); }
  std::int64_t row_stride() const { return row_stride_; }  ///< in elements
  bool dense() const { return row_stride_ == cols() || rows() <= 1; }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_ ? storage_->device() : kCpu; }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype_); }
  std::int64_t offset() const { return offset_; }  ///< in elements, from the start of the storage
  const std::shared_ptr<Storage>& storage() const { return storage_; }

  /// The first element; null on meta. data<T>() throws when T is not the dtype.
  void* raw() const {
    auto* base = static_cast<std::byte*>(storage_ ? storage_->data() : nullptr);
    return base ? base + static_cast<std::size_t>(offset_) * size_of(dtype_) : nullptr;
  }
  template <class T>
  T* data() const {
    if (DTypeOf<std::remove_const_t<T>>::value != dtype_) [[unlikely]]
      wrong_dtype(DTypeOf<std::remove_const_t<T>>::value);
    return static_cast<T*>(raw());
  }
  /// Whether every row starts on a multiple of `bytes` (vector loads); judged by offset and stride
  /// alone, so that it holds on meta too.
  bool aligned(std::size_t bytes) const {
    const std::size_t size = size_of(dtype_);
    return static_cast<std::size_t>(offset_) * size % bytes == 0 &&
           (rows() <= 1 || static_cast<std::size_t>(row_stride_) * size % bytes == 0);
  }

  /// The same elements under another shape of equal count. A channel slice can only regroup its
  /// leading dimensions. Throws Error.
  Tensor reshape(const Shape& shape) const;
  /// Channels [begin, end) of the last dimension, as a view.
  Tensor channels(std::int64_t begin, std::int64_t end) const;
  /// Entries [begin, end) of the first dimension, as a view.
  Tensor slice(std::int64_t begin, std::int64_t end) const;
  /// A dense copy of a channel slice; the same handle when already dense.
  Tensor contiguous() const;
  /// A dense copy, always with its own storage.
  Tensor clone() const;
  /// A dense copy on another device; the same handle when it is there already.
  Tensor to(Device device) const;
  /// The elements, in row order, on the host. T must be the dtype.
  template <class T>
  std::vector<T> to_vector() const;

  /// Copies the elements of `from` (equal shape and dtype, any device) into this tensor's bytes.
  void copy_from(const Tensor& from) const;
  void fill_zero() const;
  void bump_version() const { storage_->bump_version(); }

 private:
  [[noreturn]] void wrong_dtype(DType asked) const;
  Shape shape_;
  DType dtype_ = DType::f32;
  std::shared_ptr<Storage> storage_;
  std::int64_t offset_ = 0;
  std::int64_t row_stride_ = 0;
};

/// "f16[2,64,64,192] cuda:0", or "none" for an undefined tensor: for error messages.
std::string to_string(const Tensor& tensor);

/// storage->derived() under a key that includes the view's offset, shape and dtype.
template <class Make>
requires std::invocable<Make> Tensor derived(const Tensor& of, const char* form, Make&& make) {
  return of.storage()->derived(
      fmt::format("{}@{}{}{}", form, of.offset(), to_string(of.shape()), name(of.dtype())),
      std::function<Tensor()>(std::forward<Make>(make)));
}

template <class T>
Tensor Tensor::from(std::span<const T> values, const Shape& shape, Device device) {
  TILLER_CHECK(static_cast<std::int64_t>(values.size()) == shape.numel(),
               "Tensor::from: {} values do not fill shape {}", values.size(), to_string(shape));
  Tensor t = empty(shape, DTypeOf<T>::value, device);
  if (!values.empty() && device.type != DeviceType::meta)
    backend(device).copy_from_host(t.raw(), values.data(), t.bytes(), current_stream(device));
  return t;
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  const Tensor host = to(kCpu).contiguous();
  const T* begin = host.data<T>();
  return std::vector<T>(begin, begin + host.numel());
}

}  // namespace tiller
