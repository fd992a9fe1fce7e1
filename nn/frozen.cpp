#include "nn/frozen.h"

#include "runtime/half.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

// In PyTorch's order, as [outer][middle][inner] of which the last two change places.
FrozenSource source_of(const Shape& s, FileLayout layout) {
  FrozenSource source;
  source.outer = s[0];
  switch (layout) {
    case FileLayout::oihw:
      source.middle = s[3];
      source.inner = s[1] * s[2];
      break;
    case FileLayout::transposed:
      source.outer = 1;
      source.middle = s[1];
      source.inner = s[0];
      break;
    default:
      source.inner = s.numel() / s[0];
  }
  return source;
}

}  // namespace

Tensor frozen_parameter(const Tensor& in_file, const Shape& shape, FileLayout layout) {
  TILLER_CHECK(in_file.numel() == shape.numel() && in_file.dense(),
               "{} cannot become a parameter of shape {}", to_string(in_file), to_string(shape));
  FrozenSource source = source_of(shape, layout);
  source.values = in_file.raw();
  source.dtype = in_file.dtype();
  source.owner = in_file.storage();
  return Tensor::view(Storage::freeze(std::move(source), kCpu), shape, DType::f32);
}

Tensor frozen_shape(const Shape& shape, FileLayout layout) {
  return Tensor::view(Storage::freeze(source_of(shape, layout), kMeta), shape, DType::f32);
}

Tensor rounded_to_bf16(const Tensor& values) {
  constexpr std::int64_t kChunk = 1 << 16;
  Tensor rounded = Tensor::empty(values.shape(), DType::bf16);
  const auto* from = values.data<const float>();
  auto* to = rounded.data<bf16>();
  launch("round_weight", (values.numel() + kChunk - 1) / kChunk, [&](std::int64_t chunk) {
    const std::int64_t end = std::min(values.numel(), (chunk + 1) * kChunk);
    for (std::int64_t i = chunk * kChunk; i < end; ++i) to[i] = bf16(from[i]);
  });
  return rounded;
}

}  // namespace tiller
