// PIL computes the weights in double, rounds them to integers, and adds 8-bit pixels times weights
// in integers, first along the rows, then along the columns with 8 bits in between. Every rounding
// is part of the result, so this file is compiled without contraction to fused multiply-adds.
// Source: Pillow 11, src/libImaging/Resample.c (Pillow 13 takes the columns first where that is
// cheaper).
#include "tools/data/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace tiller {

namespace {

constexpr int kWeightBits =
    22;  // 32, less 8 for the pixel and 2 for sums beyond one and for the sign

double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/// Which pixels of a line make each of its new pixels, and with which weights.
struct Taps {
  struct Run {
    std::int64_t first, count;
  };
  std::vector<Run> runs;              // one for each new pixel of the window
  std::vector<std::int32_t> weights;  // [runs][stride], in units of 2^-22
  std::int64_t stride = 0;
  const std::int32_t* weights_of(std::size_t i) const {
    return weights.data() + static_cast<std::int64_t>(i) * stride;
  }
};

// For the new pixels [begin, end) of `to`, which are made of `from` pixels.
Taps make_taps(std::int64_t from, std::int64_t to, std::int64_t begin, std::int64_t end,
               Filter filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0);  // a shrinking filter spans more pixels
  const double reach = (filter == Filter::box ? 0.5 : 2.0) * stretch;
  Taps taps;
  taps.stride = static_cast<std::int64_t>(std::ceil(reach)) * 2 + 1;
  taps.weights.resize(static_cast<std::size_t>((end - begin) * taps.stride));
  std::vector<double> exact(static_cast<std::size_t>(taps.stride));
  for (std::int64_t i = begin; i < end; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const double left = center - reach + 0.5,
                 right = center + reach + 0.5;  // truncated, as PIL does
    const auto first = std::max<std::int64_t>(static_cast<std::int64_t>(left), 0);
    const auto last = std::min(static_cast<std::int64_t>(right), from);
    double sum = 0;
    for (std::int64_t k = 0; k < last - first; ++k) {
      const double x = (static_cast<double>(k + first) - center + 0.5) * (1.0 / stretch);
      const double w = filter == Filter::box ? box(x) : bicubic(x);
      exact[static_cast<std::size_t>(k)] = w;
      sum += w;
    }
    std::int32_t* weights = taps.weights.data() + (i - begin) * taps.stride;
    for (std::int64_t k = 0; k < last - first; ++k) {
      const double w = (sum != 0 ? exact[static_cast<std::size_t>(k)] / sum : 0) *
                       static_cast<double>(1 << kWeightBits);
      weights[k] = static_cast<std::int32_t>(w < 0 ? w - 0.5 : w + 0.5);
    }
    taps.runs.push_back({first, last - first});
  }
  return taps;
}

std::uint8_t rounded(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
}

// One row: [from,C] -> [taps,C].
template <int C>
void make_row(const std::uint8_t* in, std::uint8_t* out, const Taps& taps) {
  for (std::size_t i = 0; i < taps.runs.size(); ++i, out += C) {
    const std::int32_t* weights = taps.weights_of(i);
    const std::uint8_t* pixel = in + taps.runs[i].first * C;
    std::int32_t sums[C];
    std::fill_n(sums, C, 1 << (kWeightBits - 1));
    for (std::int64_t k = 0; k < taps.runs[i].count; ++k, pixel += C)
      for (int c = 0; c < C; ++c) sums[c] += pixel[c] * weights[k];
    for (int c = 0; c < C; ++c) out[c] = rounded(sums[c]);
  }
}

void make_row(const std::uint8_t* in, std::uint8_t* out, const Taps& taps, std::int64_t channels) {
  if (channels == 3) return make_row<3>(in, out, taps);
  if (channels == 1) return make_row<1>(in, out, taps);
  for (std::size_t i = 0; i < taps.runs.size(); ++i)
    for (std::int64_t c = 0; c < channels; ++c) {
      std::int32_t sum = 1 << (kWeightBits - 1);
      for (std::int64_t k = 0; k < taps.runs[i].count; ++k)
        sum += in[(taps.runs[i].first + k) * channels + c] * taps.weights_of(i)[k];
      *out++ = rounded(sum);
    }
}

}  // namespace

Tensor resample(const Tensor& picture, std::int64_t height, std::int64_t width, Filter filter,
                const Window& window) {
  TILLER_CHECK(picture.dtype() == DType::u8 && picture.rank() == 3 && picture.numel() > 0,
               "resample: {} is no picture u8[H,W,C]", to_string(picture));
  TILLER_CHECK(window.top >= 0 && window.left >= 0 && window.height >= 1 && window.width >= 1 &&
                   window.top + window.height <= height && window.left + window.width <= width,
               "resample: {}x{} pixels at ({}, {}) leave a picture of {}x{}", window.width,
               window.height, window.left, window.top, width, height);
  const Tensor source = picture.contiguous();  // [H,W,C]
  const std::int64_t channels = source.dim(2);
  const auto* pixels = source.data<std::uint8_t>();

  // An axis whose size stays is left alone. Else only the rows that the window is made of are
  // narrowed.
  const bool same_height = source.dim(0) == height;
  Taps down;
  std::int64_t first = window.top, last = window.top + window.height;
  if (!same_height) {
    down = make_taps(source.dim(0), height, first, last, filter);
    first = down.runs.front().first;
    last = down.runs.back().first + down.runs.back().count;
  }
  const std::int64_t in_row = source.dim(1) * channels, row = window.width * channels;
  const Tensor narrow = Tensor::empty({last - first, window.width, channels}, DType::u8);
  auto* middle = narrow.data<std::uint8_t>();
  if (source.dim(1) == width) {
    for (std::int64_t y = first; y < last; ++y)
      std::memcpy(middle + (y - first) * row, pixels + y * in_row + window.left * channels,
                  static_cast<std::size_t>(row));
  } else {
    const Taps across =
        make_taps(source.dim(1), width, window.left, window.left + window.width, filter);
    for (std::int64_t y = first; y < last; ++y)
      make_row(pixels + y * in_row, middle + (y - first) * row, across, channels);
  }
  if (same_height) return narrow;

  const Tensor result = Tensor::empty({window.height, window.width, channels}, DType::u8);
  auto* out = result.data<std::uint8_t>();
  std::vector<std::int32_t> sums(static_cast<std::size_t>(row));
  for (std::size_t i = 0; i < down.runs.size(); ++i) {
    std::fill(sums.begin(), sums.end(), 1 << (kWeightBits - 1));
    for (std::int64_t k = 0; k < down.runs[i].count; ++k) {
      const std::int32_t weight = down.weights_of(i)[k];
      const std::uint8_t* line = middle + (down.runs[i].first + k - first) * row;
      for (std::size_t x = 0; x < sums.size(); ++x) sums[x] += line[x] * weight;
    }
    for (const std::int32_t sum : sums) *out++ = rounded(sum);
  }
  return result;
}

Tensor resample(const Tensor& picture, std::int64_t height, std::int64_t width, Filter filter) {
  return resample(picture, height, width, filter, {0, 0, height, width});
}

}  // namespace tiller
