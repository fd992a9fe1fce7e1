#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/files/atomic_file.h"
#include "runtime/files/image.h"

namespace tiller {

namespace {

std::string big32(std::uint64_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xFF);
  return bytes;
}

void write_chunk(AtomicFile& file, std::string_view type, std::string_view data) {
  const std::string head(type);
  uLong crc = crc32_z(0, reinterpret_cast<const Bytef*>(head.data()), head.size());
  crc = crc32_z(crc, reinterpret_cast<const Bytef*>(data.data()), data.size());
  file.write(big32(data.size()));
  file.write(head);
  file.write(data);
  file.write(big32(crc));
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<signed char>(c) >= 0; });
}

void write_text(AtomicFile& file, const std::string& key, const std::string& value) {
  TILLER_CHECK(
      !key.empty() && key.size() <= 79 && is_ascii(key) && key.find('\0') == std::string::npos,
      "png: the keyword \"{}\" of a text must have 1 to 79 ASCII characters", key);
  TILLER_CHECK(value.find('\0') == std::string::npos, "png: the text of \"{}\" has a zero byte",
               key);
  if (is_ascii(value)) return write_chunk(file, "tEXt", key + '\0' + value);
  // Not compressed, no language, no translated keyword: five zero bytes in all.
  write_chunk(file, "iTXt", key + std::string(5, '\0') + value);
}

int paeth(int a, int b, int c) {
  const int p = a + b - c, pa = std::abs(p - a), pb = std::abs(p - b), pc = std::abs(p - c);
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

// One of the five filters of PNG (section 9) applied to a row; returns the sum of absolute differences,
// by which the encoder chooses, as libpng does.
std::uint64_t filter_row(int filter, const std::uint8_t* row, const std::uint8_t* above,
                         std::size_t bytes, std::size_t pixel, std::uint8_t* out) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    const int a = i >= pixel ? row[i - pixel] : 0;
    const int b = above ? above[i] : 0;
    const int c = above && i >= pixel ? above[i - pixel] : 0;
    int predicted = 0;
    if (filter == 1) predicted = a;
    if (filter == 2) predicted = b;
    if (filter == 3) predicted = (a + b) / 2;
    if (filter == 4) predicted = paeth(a, b, c);
    out[i] = static_cast<std::uint8_t>(row[i] - predicted);
    sum += out[i] < 128 ? out[i] : 256u - out[i];
  }
  return sum;
}

// The rows as PNG compresses them: a filter byte, then the differences.
std::vector<std::uint8_t> filter_rows(const Tensor& image) {
  const auto height = static_cast<std::size_t>(image.dim(0));
  const auto pixel = static_cast<std::size_t>(image.dim(2));
  const std::size_t bytes = static_cast<std::size_t>(image.dim(1)) * pixel;
  const std::uint8_t* data = image.data<std::uint8_t>();
  std::vector<std::uint8_t> filtered(height * (bytes + 1));
  std::vector<std::uint8_t> candidate(bytes);
  for (std::size_t y = 0; y < height; ++y) {
    const std::uint8_t* row = data + y * bytes;
    std::uint8_t* out = &filtered[y * (bytes + 1)];
    std::uint64_t best = ~std::uint64_t{0};
    for (int filter = 0; filter < 5; ++filter) {
      const std::uint64_t sum =
          filter_row(filter, row, y > 0 ? row - bytes : nullptr, bytes, pixel, candidate.data());
      if (sum >= best) continue;
      best = sum;
      out[0] = static_cast<std::uint8_t>(filter);
      std::copy(candidate.begin(), candidate.end(), out + 1);
    }
  }
  return filtered;
}

}  // namespace

void write_png(const std::string& path, const Tensor& picture,
               const std::map<std::string, std::string>& text) {
  TILLER_CHECK(picture.dtype() == DType::u8 && picture.rank() == 3 && picture.numel() > 0 &&
                   (picture.dim(2) == 1 || picture.dim(2) == 3 || picture.dim(2) == 4),
               "write_png: {} is not u8[H,W,C] with C of 1, 3 or 4", to_string(picture));
  const Tensor image = picture.to(kCpu).contiguous();  // [H,W,C]
  const std::vector<std::uint8_t> filtered = filter_rows(image);
  uLongf size = compressBound(filtered.size());
  std::string compressed(size, '\0');
  TILLER_CHECK(compress2(reinterpret_cast<Bytef*>(compressed.data()), &size, filtered.data(),
                         filtered.size(), Z_DEFAULT_COMPRESSION) == Z_OK,
               "write_png: no memory to compress {}", to_string(picture));
  compressed.resize(size);

  AtomicFile file(path);
  file.write("\x89PNG\r\n\x1a\n");
  std::string header = big32(static_cast<std::uint64_t>(image.dim(1))) +
                       big32(static_cast<std::uint64_t>(image.dim(0)));
  header += '\x08';  // bits per sample
  header += image.dim(2) == 1   ? '\x00'
            : image.dim(2) == 3 ? '\x02'
                                : '\x06';  // grey, RGB, RGB and alpha
  header += std::string(3, '\0');          // deflate, adaptive filters, not interlaced
  write_chunk(file, "IHDR", header);
  for (const auto& [key, value] : text) write_text(file, key, value);
  constexpr std::size_t kPiece = std::size_t{1} << 30;
  for (std::size_t at = 0; at < compressed.size(); at += kPiece)
    write_chunk(file, "IDAT", std::string_view(compressed).substr(at, kPiece));
  write_chunk(file, "IEND", "");
  file.commit();
}

}  // namespace tiller
