#pragma once
// From a picture of any size to the square that a network sees, as guided-diffusion's
// image_datasets.py crops it.
#include <cstdint>

#include "runtime/philox.h"
#include "runtime/tensor.h"

namespace tiller {

/// Where a square is cut out: the picture is scaled until its shorter side has `shorter` pixels.
struct CropPlace {
  std::int64_t shorter = 0, top = 0, left = 0;
};

/// The middle of a picture of height x width whose shorter side is scaled to `size`.
CropPlace center_place(std::int64_t height, std::int64_t width, std::int64_t size);

/// A place drawn from a counter's words: the shorter side uniform in [size, ceil(size / 0.8)] (word
/// 0), top (word 1) and left (word 2) uniform. Word 3 is left to the caller.
CropPlace random_place(std::int64_t height, std::int64_t width, std::int64_t size,
                       const PhiloxWords& words);

/// The size x size pixels at `place`: halves with a box filter while the shorter side is at least
/// twice place.shorter, scales by bicubic, cuts. picture u8 [H,W,C] -> u8 [size,size,C].
Tensor crop(const Tensor& picture, std::int64_t size, const CropPlace& place);

/// guided-diffusion's center_crop_arr: u8 [H,W,C] -> u8 [size,size,C].
Tensor center_crop(const Tensor& picture, std::int64_t size);

/// guided-diffusion's random_crop_arr, drawing from `words`: u8 [H,W,C] -> u8 [size,size,C].
Tensor random_crop(const Tensor& picture, std::int64_t size, const PhiloxWords& words);

}  // namespace tiller
