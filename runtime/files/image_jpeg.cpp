#include <array>

#include "runtime/files/byte_reader.h"
#include "runtime/files/image_formats.h"

namespace tiller {

namespace {

// A progressive file may pass over all blocks once per scan; real ones do so some ten times.
constexpr int kScanLimit = 100;
constexpr int kEnd = 0xD9, kScan = 0xDA, kHuffman = 0xC4, kQuantization = 0xDB;

// A frame header other than DHT (C4), JPG (C8) and DAC (CC), which share its range.
bool is_frame(int marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != kHuffman && marker != 0xC8 && marker != 0xCC;
}

// The entropy-coded bytes of a scan: FF is followed by 00 or a restart marker there, else it ends them.
int next_marker(ByteReader& reader) {
  for (;;) {
    if (reader.u8() != 0xFF) continue;
    int marker = reader.u8();
    while (marker == 0xFF) marker = reader.u8();
    if (marker != 0 && (marker < 0xD0 || marker > 0xD7)) return marker;
  }
}

// What decoders take on trust: that every table that is used was defined, and that it is a code.
class Tables {
 public:
  explicit Tables(const std::string& path) : path_(path) {}

  void read_quantization(ByteReader segment) {
    while (segment.remaining() > 0) {
      const int head = segment.u8();
      TILLER_CHECK((head & 15) < 4, "{}: damaged: JPEG quantization table {}", path_, head & 15);
      segment.take(head >> 4 ? 128 : 64);
      quantization_[static_cast<std::size_t>(head & 15)] = true;
    }
  }

  void read_huffman(ByteReader segment) {
    while (segment.remaining() > 0) {
      const int head = segment.u8();
      const int kind = head >> 4, index = head & 15;  // 0 for DC, 1 for AC
      TILLER_CHECK(kind < 2 && index < 4, "{}: damaged: JPEG Huffman table {:#x}", path_, head);
      std::size_t symbols = 0;
      std::uint32_t used = 0;  // of the 2^16 codes of 16 bits
      for (int bits = 1; bits <= 16; ++bits) {
        const std::size_t count = segment.u8();
        symbols += count;
        used += static_cast<std::uint32_t>(count) << (16 - bits);
      }
      TILLER_CHECK(symbols <= 256 && used <= 1u << 16,
                   "{}: damaged: a JPEG Huffman table has more codes than there are", path_);
      segment.take(symbols);
      huffman_[static_cast<std::size_t>(kind)][static_cast<std::size_t>(index)] = true;
    }
  }

  void read_frame(int marker, ByteReader segment, ImageInfo& info) {
    TILLER_CHECK(info.width == 0, "{}: a JPEG with two frames is not read", path_);
    progressive_ = marker == 0xC2;
    info.bit_depth = segment.u8();
    info.height = segment.big16();
    info.width = segment.big16();
    info.channels = segment.u8();
    check_size(info.width, info.height, path_);
    for (std::int64_t i = 0; i < info.channels; ++i) {
      segment.take(2);  // name and sampling factors
      frame_quantization_ |= 1u << (segment.u8() & 31);
    }
  }

  void check_scan(ByteReader segment) {
    for (unsigned table = 0; table < 32; ++table)
      TILLER_CHECK((frame_quantization_ >> table & 1) == 0 || (table < 4 && quantization_[table]),
                   "{}: damaged: JPEG quantization table {} is missing", path_, table);
    const int components = segment.u8();
    std::array<std::array<bool, 16>, 2> named{};
    for (int i = 0; i < components; ++i) {
      segment.u8();  // name
      const unsigned pair = segment.u8();
      named[0][pair >> 4] = named[1][pair & 15] = true;
    }
    const int first = segment.u8();
    segment.u8();  // the last coefficient
    const int refining = segment.u8() >> 4;
    // A progressive scan holds DC or AC coefficients; the former are refined without a code.
    const bool uses[2] = {!progressive_ || (first == 0 && refining == 0),
                          !progressive_ || first > 0};
    for (std::size_t kind = 0; kind < 2; ++kind)
      for (std::size_t index = 0; index < 16; ++index)
        TILLER_CHECK(!uses[kind] || !named[kind][index] || (index < 4 && huffman_[kind][index]),
                     "{}: damaged: JPEG Huffman table {} is missing", path_, index);
  }

 private:
  const std::string& path_;
  bool progressive_ = false;
  unsigned frame_quantization_ = 0;  // a bit per table
  std::array<bool, 4> quantization_{};
  std::array<std::array<bool, 4>, 2> huffman_{};
};

}  // namespace

ImageInfo scan_jpeg(ByteSpan bytes, const std::string& path) {
  ImageInfo info;
  Tables tables(path);
  int scans = 0;
  ByteReader reader(bytes, path, 2, ErrorKind::failed);
  for (int marker = next_marker(reader); marker != kEnd; marker = next_marker(reader)) {
    if (marker == 0x01 || marker == 0xD8) continue;  // TEM and SOI have no length
    const std::uint16_t length = reader.big16();
    TILLER_CHECK(length >= 2, "{}: damaged: a JPEG segment of {} bytes", path, length);
    const ByteReader segment(reader.take(length - std::size_t{2}), path, 0, ErrorKind::failed);
    if (is_frame(marker)) tables.read_frame(marker, segment, info);
    if (marker == kHuffman) tables.read_huffman(segment);
    if (marker == kQuantization) tables.read_quantization(segment);
    if (marker == kScan) {
      tables.check_scan(segment);
      ++scans;
    }
    TILLER_CHECK(scans <= kScanLimit, "{}: a JPEG of more than {} scans is not read", path,
                 kScanLimit);
  }
  TILLER_CHECK(info.width > 0 && scans > 0, "{}: a JPEG without a picture", path);
  // A block of 8x8 takes at least one bit, and some component has a block for every 8x8 pixels.
  const auto blocks =
      static_cast<std::uint64_t>(info.width) * static_cast<std::uint64_t>(info.height) / 64;
  TILLER_CHECK(blocks <= bytes.size() * 8, "{}: damaged: {} bytes cannot hold {}x{} pixels", path,
               bytes.size(), info.width, info.height);
  return info;
}

}  // namespace tiller
