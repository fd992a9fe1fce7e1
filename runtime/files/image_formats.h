#pragma once
// What read_image() is made of: each function takes the bytes of a whole file and its name for messages,
// and throws Error(failed). Nothing here allocates by what a header claims before the data have been
// shown to be able to fill it.
#include <string>
#include <vector>

#include "runtime/files/image.h"
#include "runtime/files/mapped_file.h"

namespace tiller {

inline constexpr std::uint64_t kPixelLimit = std::uint64_t{1} << 28;

bool is_png(ByteSpan bytes);
bool is_jpeg(ByteSpan bytes);
bool is_gif(ByteSpan bytes);

/// Walks the chunks of a PNG, checks every CRC and the size against the compressed data, and collects
/// the text. Source: PNG specification, third edition, sections 5 and 11.
ImageInfo scan_png(ByteSpan bytes, const std::string& path);

/// Walks the segments of a JPEG up to its end marker. Source: ITU T.81, annex B.
ImageInfo scan_jpeg(ByteSpan bytes, const std::string& path);

/// Decodes a PNG or JPEG that has been scanned, with stb_image: u8 [H,W,3].
Tensor decode_with_stb(ByteSpan bytes, const ImageInfo& info, const std::string& path);

/// Decodes the first frame of a GIF: u8 [H,W,3]. Source: GIF89a specification, appendix F (LZW).
Tensor decode_gif(ByteSpan bytes, const std::string& path);
ImageInfo scan_gif(ByteSpan bytes, const std::string& path);

/// Throws Error(failed) for pictures without pixels or with more than kPixelLimit.
void check_size(std::int64_t width, std::int64_t height, const std::string& path);

}  // namespace tiller
