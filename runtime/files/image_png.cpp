#include <zlib.h>

#include <string_view>

#include "runtime/files/byte_reader.h"
#include "runtime/files/image_formats.h"
#include "runtime/files/zip_directory.h"

namespace tiller {

namespace {

constexpr std::size_t kSignature = 8;
constexpr std::size_t kTextLimit = std::size_t{4} << 20;  // of all compressed text together

std::string latin1_to_utf8(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      result += c;
    } else {
      result += static_cast<char>(0xC0 | (byte >> 6));
      result += static_cast<char>(0x80 | (byte & 0x3F));
    }
  }
  return result;
}

// Up to the next zero byte, which is taken too; false when there is none.
bool take_string(std::string_view& rest, std::string_view& taken) {
  const std::size_t end = rest.find('\0');
  if (end == std::string_view::npos) return false;
  taken = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return true;
}

// Inflates text into at most `room` bytes, which it reduces; false when damaged or longer.
bool inflate_text(std::string_view compressed, std::size_t& room, std::string& text) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return false;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  int status = Z_OK;
  char piece[4096];
  while (status == Z_OK && text.size() <= room) {
    stream.next_out = reinterpret_cast<Bytef*>(piece);
    stream.avail_out = sizeof piece;
    status = inflate(&stream, Z_NO_FLUSH);
    text.append(piece, sizeof piece - stream.avail_out);
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END || text.size() > room) return false;
  room -= text.size();
  return true;
}

// tEXt: keyword 0 Latin-1. zTXt: keyword 0 method deflated Latin-1. iTXt: keyword 0 compressed method
// language 0 translated keyword 0 UTF-8. A text that is broken is left out: the pixels do not need it.
void read_text(std::string_view type, std::string_view data, ImageInfo& info, std::size_t& room) {
  std::string_view key, language, translated;
  if (!take_string(data, key) || key.empty() || key.size() > 79) return;
  std::string text;
  if (type == "tEXt") {
    text = latin1_to_utf8(data);
  } else if (type == "zTXt") {
    if (data.empty() || data[0] != 0 || !inflate_text(data.substr(1), room, text)) return;
    text = latin1_to_utf8(text);
  } else {
    if (data.size() < 2) return;
    const bool compressed = data[0] != 0;
    data.remove_prefix(2);
    if (!take_string(data, language) || !take_string(data, translated)) return;
    if (compressed && !inflate_text(data, room, text)) return;
    if (!compressed) text = data;
  }
  info.text[latin1_to_utf8(key)] = std::move(text);
}

struct Header {
  std::uint64_t bits_per_pixel = 0;
};

Header read_header(ByteReader reader, ImageInfo& info, const std::string& path) {
  info.width = reader.big32();
  info.height = reader.big32();
  info.bit_depth = reader.u8();
  const int colour = reader.u8();
  TILLER_CHECK(info.width < (1u << 31) && info.height < (1u << 31),
               "{}: damaged: its size is {}x{}", path, info.width, info.height);
  check_size(info.width, info.height, path);
  std::uint64_t samples = 0;
  switch (colour) {
    case 0:
      samples = 1;
      break;  // grey
    case 2:
      samples = 3;
      break;  // RGB
    case 3:
      samples = 1;
      break;  // palette
    case 4:
      samples = 2;
      break;  // grey and alpha
    case 6:
      samples = 4;
      break;  // RGB and alpha
    default:
      fail(ErrorKind::failed, fmt::format("{}: damaged: PNG colour type {}", path, colour));
  }
  info.channels = colour == 3 ? 3 : static_cast<std::int64_t>(samples);
  return {samples * static_cast<std::uint64_t>(info.bit_depth)};
}

}  // namespace

ImageInfo scan_png(ByteSpan bytes, const std::string& path) {
  ImageInfo info;
  Header header;
  std::uint64_t compressed = 0;
  std::size_t room = kTextLimit;
  ByteReader reader(bytes, path, kSignature, ErrorKind::failed);
  for (bool first = true, last = false; !last; first = false) {
    const std::uint32_t length = reader.big32();
    TILLER_CHECK(length < (1u << 31), "{}: damaged: a PNG chunk of {} bytes", path, length);
    const std::size_t start = reader.position();
    const std::string_view type = reader.text(4);
    const std::string_view data = reader.text(length);
    const ByteSpan covered = bytes.subspan(start, std::size_t{4} + length);
    const auto crc = static_cast<std::uint32_t>(crc32_z(0, covered.data(), covered.size()));
    TILLER_CHECK(crc == reader.big32(), "{}: damaged: the checksum of a PNG chunk is wrong", path);
    TILLER_CHECK(first == (type == "IHDR") && (!first || length == 13),
                 "{}: damaged: a PNG starts with one IHDR of 13 bytes", path);
    if (first)
      header = read_header(ByteReader(bytes.subspan(start + 4, length), path, 0, ErrorKind::failed),
                           info, path);
    if (type == "IDAT") compressed += length;
    if (type == "tEXt" || type == "zTXt" || type == "iTXt") read_text(type, data, info, room);
    last = type == "IEND";
  }
  const std::uint64_t row =
      (static_cast<std::uint64_t>(info.width) * header.bits_per_pixel + 7) / 8;
  TILLER_CHECK(row * static_cast<std::uint64_t>(info.height) <= inflate_bound(compressed),
               "{}: damaged: {} bytes of data cannot hold {}x{} pixels", path, compressed,
               info.width, info.height);
  return info;
}

}  // namespace tiller
