#include "runtime/tensor.h"

namespace tiller {

namespace {
std::byte* row_at(const Tensor& t, std::int64_t row) {
  return static_cast<std::byte*>(t.raw()) +
         static_cast<std::size_t>(row * t.row_stride()) * size_of(t.dtype());
}

// Moves rows between two tensors of equal shape and dtype with `move(to, from, bytes)`.
template <class Move>
void for_each_run(const Tensor& to, const Tensor& from, const Move& move) {
  if (to.numel() == 0) return;
  if (to.dense() && from.dense()) return move(to.raw(), from.raw(), to.bytes());
  const std::size_t bytes = static_cast<std::size_t>(to.cols()) * size_of(to.dtype());
  for (std::int64_t row = 0; row < to.rows(); ++row)
    move(row_at(to, row), row_at(from, row), bytes);
}
}  // namespace

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.row_stride_ = t.cols();
  t.storage_ = Storage::allocate(static_cast<std::size_t>(shape.numel()) * size_of(dtype), device);
  return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  t.fill_zero();
  return t;
}

Tensor Tensor::view(std::shared_ptr<Storage> storage, const Shape& shape, DType dtype,
                    std::int64_t offset, std::int64_t row_stride) {
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.offset_ = offset;
  t.row_stride_ = row_stride ? row_stride : t.cols();
  TILLER_CHECK(offset >= 0 && t.row_stride_ >= t.cols(),
               "view: offset {} or row stride {} is too small", offset, row_stride);
  const std::int64_t last = t.numel() ? offset + (t.rows() - 1) * t.row_stride_ + t.cols() : 0;
  TILLER_CHECK(static_cast<std::size_t>(last) * size_of(dtype) <= storage->bytes(),
               "view: {} {} at offset {} reaches past the storage's {} bytes", name(dtype),
               to_string(shape), offset, storage->bytes());
  t.storage_ = std::move(storage);
  return t;
}

Tensor Tensor::reshape(const Shape& shape) const {
  TILLER_CHECK(shape.numel() == numel(), "reshape: {} does not hold as many elements as {}",
               to_string(shape), to_string(*this));
  Tensor t = *this;
  t.shape_ = shape;
  if (dense()) {
    t.row_stride_ = t.cols();
  } else {
    TILLER_CHECK(t.cols() == cols(),
                 "reshape: the channel slice {} keeps its last dimension, not {}", to_string(*this),
                 to_string(shape));
  }
  return t;
}

Tensor Tensor::channels(std::int64_t begin, std::int64_t end) const {
  TILLER_CHECK(rank() > 0 && 0 <= begin && begin <= end && end <= cols(),
               "channels [{}, {}) do not exist in {}", begin, end, to_string(*this));
  Tensor t = *this;
  t.shape_ = shape_.with(-1, end - begin);
  t.offset_ += begin;
  return t;
}

Tensor Tensor::slice(std::int64_t begin, std::int64_t end) const {
  TILLER_CHECK(rank() > 0 && 0 <= begin && begin <= end && end <= dim(0),
               "entries [{}, {}) do not exist in {}", begin, end, to_string(*this));
  Tensor t = *this;
  const std::int64_t rows_each = rank() == 1 || dim(0) == 0 ? 1 : rows() / dim(0);
  t.shape_ = shape_.with(0, end - begin);
  t.offset_ += rank() == 1 ? begin : begin * rows_each * row_stride_;
  if (rank() == 1) t.row_stride_ = end - begin;
  return t;
}

Tensor Tensor::contiguous() const { return dense() ? *this : clone(); }

Tensor Tensor::clone() const {
  Tensor t = empty_like(*this);
  t.copy_from(*this);
  return t;
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  Tensor t = empty(shape_, dtype_, device);
  t.copy_from(*this);
  return t;
}

void Tensor::copy_from(const Tensor& from) const {
  TILLER_CHECK(from.shape() == shape_ && from.dtype() == dtype_, "copy_from: {} into {}",
               to_string(from), to_string(*this));
  const Device here = device();
  const Device there = from.device();
  if (here.type == DeviceType::meta) return;
  TILLER_CHECK(there.type != DeviceType::meta, "copy_from: {} has no bytes", to_string(from));
  if (here == there) {
    for_each_run(*this, from, [&](void* to, const void* source, std::size_t bytes) {
      backend(here).copy(to, source, bytes, current_stream(here));
    });
  } else if (there.type == DeviceType::cpu) {
    for_each_run(*this, from, [&](void* to, const void* source, std::size_t bytes) {
      backend(here).copy_from_host(to, source, bytes, current_stream(here));
    });
  } else if (here.type == DeviceType::cpu) {
    for_each_run(*this, from, [&](void* to, const void* source, std::size_t bytes) {
      backend(there).copy_to_host(to, source, bytes, current_stream(there));
    });
    backend(there).synchronize(current_stream(there));
  } else {
    copy_from(from.to(kCpu));  // between two accelerators: through the host
  }
}

void Tensor::fill_zero() const {
  if (numel() == 0 || device().type == DeviceType::meta) return;
  Backend& memory = backend(device());
  if (dense()) return memory.fill(raw(), 0, bytes(), current_stream(device()));
  const std::size_t row_bytes = static_cast<std::size_t>(cols()) * size_of(dtype_);
  for (std::int64_t row = 0; row < rows(); ++row)
    memory.fill(row_at(*this, row), 0, row_bytes, current_stream(device()));
}

void Tensor::wrong_dtype(DType asked) const {
  fail(ErrorKind::failed, fmt::format("{} was read as {}", to_string(*this), name(asked)));
}

std::string to_string(const Tensor& tensor) {
  if (!tensor.defined()) return "none";
  const std::string device = tensor.device() == kCpu ? "" : " " + to_string(tensor.device());
  return fmt::format("{}{}{}", name(tensor.dtype()), to_string(tensor.shape()), device);
}

}  // namespace tiller
