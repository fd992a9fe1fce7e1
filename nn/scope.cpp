#include "nn/scope.h"

#include <cstring>

#include "runtime/error.h"
#include "runtime/parallel.h"

namespace tiller {

const std::vector<std::string>& ParameterSource::warnings() const {
  static const std::vector<std::string> kNone;
  return kNone;
}

void ParameterList::add(Parameter parameter) { parameters_.push_back(std::move(parameter)); }

const Parameter* ParameterList::find(std::string_view key) const {
  for (const Parameter& parameter : parameters_)
    if (parameter.key == key) return &parameter;
  return nullptr;
}

std::int64_t ParameterList::numel() const {
  std::int64_t n = 0;
  for (const Parameter& parameter : parameters_) n += parameter.value.numel();
  return n;
}

std::size_t ParameterList::bytes() const {
  std::size_t n = 0;
  for (const Parameter& parameter : parameters_) n += parameter.value.bytes();
  return n;
}

Scope Scope::operator/(std::string_view name) const {
  return {*source_, *list_, path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name)};
}

Scope Scope::operator/(std::int64_t index) const { return *this / std::to_string(index); }

namespace {
std::vector<std::int64_t> file_shape_of(const Shape& s, FileLayout layout) {
  switch (layout) {
    case FileLayout::same:
      return {s.begin(), s.end()};
    case FileLayout::oihw:
      return {s[0], s[3], s[1], s[2]};
    case FileLayout::conv1d:
      return {s[0], s[1], 1};
    case FileLayout::transposed:
      return {s[1], s[0]};
  }
  return {};
}

// out[a, c, b] = in[a, b, c]: every layout change is this one.
template <class T>
void swap_last(const void* in, void* out, std::int64_t a, std::int64_t b, std::int64_t c) {
  const T* from = static_cast<const T*>(in);
  T* to = static_cast<T*>(out);
  launch("swap_layout", a, [=](std::int64_t i) {
    const T* x = from + i * b * c;
    T* y = to + i * b * c;
    for (std::int64_t k = 0; k < c; ++k)
      for (std::int64_t j = 0; j < b; ++j) y[k * b + j] = x[j * c + k];
  });
}

Tensor swapped(const Tensor& t, const Shape& shape, std::int64_t a, std::int64_t b,
               std::int64_t c) {
  const Tensor out = Tensor::empty(shape, t.dtype(), t.device());
  if (t.device().type == DeviceType::meta) return out;
  switch (size_of(t.dtype())) {
    case 8:
      swap_last<std::uint64_t>(t.raw(), out.raw(), a, b, c);
      break;
    case 4:
      swap_last<std::uint32_t>(t.raw(), out.raw(), a, b, c);
      break;
    case 2:
      swap_last<std::uint16_t>(t.raw(), out.raw(), a, b, c);
      break;
    default:
      swap_last<std::uint8_t>(t.raw(), out.raw(), a, b, c);
      break;
  }
  return out;
}
}  // namespace

Tensor Scope::parameter(std::string_view name, const Shape& shape, FileLayout layout,
                        const Init& init) const {
  Parameter parameter{(*this / name).path(), file_shape_of(shape, layout), layout, {}};
  parameter.value = source_->get(parameter.key, shape, parameter.file_shape, layout, init);
  const Tensor value = parameter.value;
  list_->add(std::move(parameter));
  return value;
}

Tensor to_file_layout(const Tensor& value, const std::vector<std::int64_t>& file_shape,
                      FileLayout layout) {
  const Shape s = value.shape();
  const Shape target{std::span<const std::int64_t>(file_shape)};
  const Tensor host =
      (value.device().type == DeviceType::meta ? value : value.to(kCpu)).contiguous();
  switch (layout) {
    case FileLayout::oihw:
      return swapped(host, target, s[0], s[1] * s[2], s[3]);
    case FileLayout::transposed:
      return swapped(host, target, 1, s[0], s[1]);
    default:
      return host.reshape(target);
  }
}

Tensor from_file_layout(const Tensor& file_value, const Shape& shape, FileLayout layout) {
  TILLER_CHECK(file_value.numel() == shape.numel(), "{} cannot become a parameter of shape {}",
               to_string(file_value), to_string(shape));
  const Tensor dense = file_value.contiguous();
  switch (layout) {
    case FileLayout::oihw:
      return swapped(dense, shape, shape[0], shape[3], shape[1] * shape[2]);
    case FileLayout::transposed:
      return swapped(dense, shape, 1, shape[1], shape[0]);
    default:
      return dense.reshape(shape);
  }
}

std::vector<NamedTensor> state_dict(const ParameterList& parameters) {
  std::vector<NamedTensor> tensors;
  for (const Parameter& p : parameters.all())
    tensors.push_back({p.key, to_file_layout(p.value, p.file_shape, p.layout)});
  return tensors;
}

}  // namespace tiller
