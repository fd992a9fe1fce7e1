#include <algorithm>
#include <array>

#include "runtime/files/byte_reader.h"
#include "runtime/files/image_formats.h"

namespace tiller {

namespace {

struct Screen {
  int width = 0, height = 0;
  ByteSpan palette;  // three bytes per colour
  int background = 0;
};

ByteSpan read_palette(ByteReader& reader, int flags) {
  if ((flags & 0x80) == 0) return {};
  return reader.take(std::size_t{3} << ((flags & 7) + 1));
}

Screen read_screen(ByteReader& reader, const std::string& path) {
  Screen screen;
  screen.width = reader.u16();
  screen.height = reader.u16();
  const int flags = reader.u8();
  screen.background = reader.u8();
  reader.u8();  // pixel aspect ratio
  check_size(screen.width, screen.height, path);
  screen.palette = read_palette(reader, flags);
  return screen;
}

void skip_blocks(ByteReader& reader) {
  while (const int length = reader.u8()) reader.take(static_cast<std::size_t>(length));
}

// LZW codes, least significant bit first, over data blocks of up to 255 bytes.
class Codes {
 public:
  explicit Codes(ByteReader& reader) : reader_(reader) {}
  int next(int bits) {
    while (available_ < bits) {
      if (left_ == 0) left_ = reader_.u8();
      if (left_ == 0) return -1;  // the last block
      --left_;
      held_ |= static_cast<std::uint32_t>(reader_.u8()) << available_;
      available_ += 8;
    }
    const int code = static_cast<int>(held_ & ((1u << bits) - 1));
    held_ >>= bits;
    available_ -= bits;
    return code;
  }

 private:
  ByteReader& reader_;
  int left_ = 0, available_ = 0;
  std::uint32_t held_ = 0;
};

// Calls emit(index) for up to `count` pixels; returns how many there were.
template <class Emit>
std::int64_t decompress(ByteReader& reader, std::int64_t count, const std::string& path,
                        const Emit& emit) {
  constexpr int kMaxCodes = 4096;
  const int minimum = reader.u8();
  TILLER_CHECK(minimum >= 1 && minimum <= 8, "{}: damaged: GIF code size {}", path, minimum);
  const int clear = 1 << minimum, end = clear + 1;
  std::array<std::int16_t, kMaxCodes> prefix{};
  std::array<std::uint8_t, kMaxCodes> suffix{}, stack{};
  for (int i = 0; i < clear; ++i)
    suffix[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(i);
  Codes codes(reader);
  int bits = minimum + 1, known = end + 1, previous = -1;
  std::uint8_t first = 0;
  std::int64_t done = 0;
  while (done < count) {
    const int code = codes.next(bits);
    if (code < 0 || code == end) break;
    if (code == clear) {
      bits = minimum + 1;
      known = end + 1;
      previous = -1;
      continue;
    }
    TILLER_CHECK(code < known || (code == known && previous >= 0 && known < kMaxCodes),
                 "{}: damaged: GIF code {} is not known yet", path, code);
    // The code being defined right now is the previous text plus its own first pixel.
    std::size_t depth = 0;
    int at = code;
    if (code == known) {
      stack[depth++] = first;
      at = previous;
    }
    for (; at > end; at = prefix[static_cast<std::size_t>(at)])
      stack[depth++] = suffix[static_cast<std::size_t>(at)];
    first = suffix[static_cast<std::size_t>(at)];
    emit(first);
    ++done;
    while (depth > 0 && done < count) {
      emit(stack[--depth]);
      ++done;
    }
    if (previous >= 0 && known < kMaxCodes) {
      prefix[static_cast<std::size_t>(known)] = static_cast<std::int16_t>(previous);
      suffix[static_cast<std::size_t>(known)] = first;
      ++known;
      if (known == 1 << bits && bits < 12) ++bits;
    }
    previous = code;
  }
  return done;
}

// The row that the n-th transmitted row of an interlaced frame belongs to.
std::vector<int> row_order(int height, bool interlaced) {
  std::vector<int> rows;
  constexpr std::array<std::array<int, 2>, 4> kPasses{{{0, 8}, {4, 8}, {2, 4}, {1, 2}}};
  if (interlaced) {
    for (const auto& [start, step] : kPasses)
      for (int y = start; y < height; y += step) rows.push_back(y);
  } else {
    for (int y = 0; y < height; ++y) rows.push_back(y);
  }
  return rows;
}

}  // namespace

ImageInfo scan_gif(ByteSpan bytes, const std::string& path) {
  ByteReader reader(bytes, path, 6, ErrorKind::failed);
  const Screen screen = read_screen(reader, path);
  ImageInfo info;
  info.width = screen.width;
  info.height = screen.height;
  info.channels = 3;
  return info;
}

Tensor decode_gif(ByteSpan bytes, const std::string& path) {
  ByteReader reader(bytes, path, 6, ErrorKind::failed);
  const Screen screen = read_screen(reader, path);
  const auto pixels =
      static_cast<std::uint64_t>(screen.width) * static_cast<std::uint64_t>(screen.height);
  // A code of 9 bits or more stands for at most 4096 pixels.
  TILLER_CHECK(pixels <= bytes.size() * 4096, "{}: damaged: {} bytes cannot hold {}x{} pixels",
               path, bytes.size(), screen.width, screen.height);
  for (;;) {
    const int kind = reader.u8();
    TILLER_CHECK(kind == 0x21 || kind == 0x2C, "{}: a GIF without a picture", path);
    if (kind == 0x2C) break;
    reader.u8();  // an extension: its label, then its blocks
    skip_blocks(reader);
  }
  const int left = reader.u16(), top = reader.u16(), width = reader.u16(), height = reader.u16();
  const int flags = reader.u8();
  ByteSpan palette = read_palette(reader, flags);
  if (palette.empty()) palette = screen.palette;
  TILLER_CHECK(!palette.empty(), "{}: a GIF without a palette", path);
  TILLER_CHECK(
      width > 0 && height > 0 && left + width <= screen.width && top + height <= screen.height,
      "{}: damaged: its first frame is larger than the picture", path);
  Tensor image = Tensor::zeros({screen.height, screen.width, 3}, DType::u8);  // [H,W,3]
  auto* out = image.data<std::uint8_t>();
  const std::vector<int> rows = row_order(height, (flags & 0x40) != 0);
  std::int64_t at = 0;
  const std::int64_t count = std::int64_t{width} * height;
  const std::int64_t done = decompress(reader, count, path, [&](int index) {
    const std::int64_t y = top + rows[static_cast<std::size_t>(at / width)];
    const std::int64_t x = left + at % width;
    ++at;
    const std::size_t colour = static_cast<std::size_t>(index) * 3;
    if (colour + 3 <= palette.size())
      std::copy_n(palette.begin() + static_cast<std::ptrdiff_t>(colour), 3,
                  out + (y * screen.width + x) * 3);
  });
  TILLER_CHECK(done == count, "{} is truncated: {} of {} pixels are there", path, done, count);
  return image;
}

}  // namespace tiller
