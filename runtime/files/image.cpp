#include "runtime/files/image.h"

#include <string_view>

#include "runtime/files/image_formats.h"

namespace tiller {

namespace {

bool starts_with(ByteSpan bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

[[noreturn]] void unknown(ByteSpan bytes, const std::string& path) {
  const char* kind = "";
  if (starts_with(bytes, "RIFF")) kind = " (it looks like WebP)";
  if (starts_with(bytes, "BM")) kind = " (it looks like BMP)";
  if (starts_with(bytes, "II*") || starts_with(bytes, "MM")) kind = " (it looks like TIFF)";
  if (starts_with(bytes, "<") || starts_with(bytes, "\n<")) kind = " (it looks like a web page)";
  fail(ErrorKind::failed, fmt::format("{} is no PNG, JPEG or GIF picture{}", path, kind));
}

}  // namespace

bool is_png(ByteSpan bytes) { return starts_with(bytes, "\x89PNG\r\n\x1a\n"); }
bool is_jpeg(ByteSpan bytes) { return starts_with(bytes, "\xff\xd8\xff"); }
bool is_gif(ByteSpan bytes) { return starts_with(bytes, "GIF87a") || starts_with(bytes, "GIF89a"); }

void check_size(std::int64_t width, std::int64_t height, const std::string& path) {
  TILLER_CHECK(width > 0 && height > 0, "{}: a picture of {}x{} pixels", path, width, height);
  TILLER_CHECK(
      static_cast<std::uint64_t>(width) <= kPixelLimit / static_cast<std::uint64_t>(height),
      "{}: {}x{} pixels are more than the {} that are read", path, width, height, kPixelLimit);
}

Tensor parse_image(const MappedFile& file) {
  const ByteSpan bytes = file.bytes();
  const std::string& path = file.path();
  if (is_png(bytes)) return decode_with_stb(bytes, scan_png(bytes, path), path);
  if (is_jpeg(bytes)) return decode_with_stb(bytes, scan_jpeg(bytes, path), path);
  if (is_gif(bytes)) return decode_gif(bytes, path);
  unknown(bytes, path);
}

ImageInfo parse_image_info(const MappedFile& file) {
  const ByteSpan bytes = file.bytes();
  const std::string& path = file.path();
  if (is_png(bytes)) return scan_png(bytes, path);
  if (is_jpeg(bytes)) return scan_jpeg(bytes, path);
  if (is_gif(bytes)) return scan_gif(bytes, path);
  unknown(bytes, path);
}

Tensor read_image(const std::string& path) {
  return parse_image(*MappedFile::open(path, ErrorKind::failed));
}

ImageInfo read_image_info(const std::string& path) {
  return parse_image_info(*MappedFile::open(path, ErrorKind::failed));
}

}  // namespace tiller
