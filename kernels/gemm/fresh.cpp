#include "kernels/gemm/fresh.h"

#include <algorithm>

namespace tiller {

namespace {

// Whether each group is one tap: then what was unpacked is used where it is.
bool single_taps(const PackForm& form) {
  return std::all_of(form.groups.begin(), form.groups.end(),
                     [](const auto& group) { return group.size() == 1; });
}

// Floats that one element of the reduction needs.
std::int64_t floats_each(const PackForm& form) {
  const auto sums = static_cast<std::int64_t>(single_taps(form) ? 0 : form.groups.size());
  return (form.taps + sums) * form.columns;
}

RawFormat format_of(DType dtype) {
  return dtype == DType::f16    ? RawFormat::f16
         : dtype == DType::bf16 ? RawFormat::bf16
                                : RawFormat::f32;
}

std::int64_t taps_of(const Tensor& w) { return w.numel() / (w.dim(0) * w.cols()); }

}  // namespace

bool reads_frozen(const Tensor& w, DType dtype) {
  const FrozenSource* source = w.storage()->frozen();
  if (!source || dtype != DType::f32 || w.dtype() != DType::f32 || w.numel() == 0) return false;
  const std::int64_t taps = taps_of(w);
  const bool whole = w.offset() == 0 && w.numel() == source->numel() && taps <= kFreshTaps;
  if (taps == 1)
    return whole && source->outer == w.dim(0) && (source->middle == 1 || source->inner == 1);
  return whole && source->outer == w.dim(0) && source->middle == w.cols() && source->inner == taps;
}

RawWeight raw_weight(const Tensor& w) {
  RawWeight raw{nullptr, RawFormat::f32, w.dim(0), taps_of(w), w.cols(), false};
  if (!reads_frozen(w, DType::f32)) {
    raw.values = w.raw();
    return raw;
  }
  const FrozenSource& source = *w.storage()->frozen();
  raw.values = source.values;
  raw.format = format_of(source.dtype);
  raw.taps_last = true;
  return raw;
}

void add_stretches(const Tensor& w, const PackForm& form, const Microkernels& kernels,
                   std::int64_t begin, std::int64_t end, std::int64_t segment,
                   std::int64_t segment_step, std::vector<FreshStretch>& to) {
  const RawWeight raw = raw_weight(w);
  const UnpackKernel kernel =
      kernels.unpack.of(form.transposed, form.columns == kernels.narrow_columns);
  // Nearly equal stretches of whole strips.
  constexpr std::int64_t kStep = kStripElements;
  const std::int64_t most = kFreshFloats / floats_each(form) / kStep * kStep;
  const std::int64_t pieces = (end - begin + most - 1) / most;
  const std::int64_t each = ((end - begin + pieces - 1) / pieces + kStep - 1) / kStep * kStep;
  for (std::int64_t at = begin; at < end; at += each)
    to.push_back(
        {raw, kernel, form, at, std::min(at + each, end), segment, segment_step, at - begin});
}

std::span<const GemmRun> unpack(const FreshStretch& stretch, std::int64_t panel,
                                std::int64_t columns, float* floats, GemmRun* runs) {
  const std::int64_t length = stretch.end - stretch.begin, size = length * columns;
  stretch.kernel(stretch.w, panel * columns, stretch.begin, stretch.end, floats);
  const auto groups = static_cast<std::int64_t>(stretch.form.groups.size());
  const bool single = single_taps(stretch.form);
  float* sums = floats + stretch.form.taps * size;
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::vector<std::int64_t>& taps = stretch.form.groups[static_cast<std::size_t>(g)];
    const float* b = floats + taps.front() * size;
    if (!single) {
      std::copy_n(b, size, sums);
      for (std::size_t t = 1; t < taps.size(); ++t)
        for (std::int64_t i = 0; i < size; ++i) sums[i] += floats[taps[t] * size + i];
      b = sums;
      sums += size;
    }
    runs[g] = {b, 0, stretch.segment + g * stretch.segment_step, stretch.at, length};
  }
  return {runs, static_cast<std::size_t>(groups)};
}

}  // namespace tiller
