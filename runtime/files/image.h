#pragma once
#include <map>
#include <string>

#include "runtime/tensor.h"

namespace tiller {

class MappedFile;

/// Reads a PNG, a JPEG or the first frame of a GIF as u8 [H,W,3]. Palette, grey, alpha (dropped, as
/// PIL's convert("RGB")), CMYK JPEG and 16-bit pictures (scaled, not saturated) all become RGB.
/// Throws Error(failed) naming the file and why, also for pictures over 2^28 pixels.
Tensor read_image(const std::string& path);
Tensor parse_image(const MappedFile& file);  ///< the same for bytes that are at hand

/// Width, height and stored text of a PNG without decoding its pixels; text is empty for a JPEG.
struct ImageInfo {
  std::int64_t width = 0, height = 0, channels = 0;
  int bit_depth = 8;
  std::map<std::string, std::string> text;  ///< tEXt, zTXt and iTXt chunks, UTF-8
};
ImageInfo read_image_info(const std::string& path);
ImageInfo parse_image_info(const MappedFile& file);

/// Writes u8 [H,W,C], C in {1,3,4}, as PNG with `text` as tEXt/iTXt chunks (UTF-8). Atomic.
void write_png(const std::string& path, const Tensor& image,
               const std::map<std::string, std::string>& text = {});

}  // namespace tiller
