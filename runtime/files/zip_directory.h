#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/files/mapped_file.h"

namespace tiller {

/// One member of a zip archive.
struct ZipMember {
  std::string name;
  bool deflated = false;   ///< else stored
  std::uint32_t crc = 0;   ///< of the uncompressed bytes
  std::uint64_t size = 0;  ///< uncompressed
  ByteSpan data;           ///< as they stand in the archive, compressed if `deflated`
};

/// The central directory of a zip archive (with ZIP64) whose bytes are all in memory: mapped .pt
/// and .npz files. Only the central directory is believed: PyTorch writes local headers without
/// sizes, numpy writes 0xFFFFFFFF there. Every offset and size is checked against the file before
/// it is used. Throws Error(checkpoint), saying "truncated download" when the directory (which
/// stands at the end) is missing; for encrypted and multi-disk archives and for other compression
/// methods. Source: PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16.
std::vector<ZipMember> read_zip_directory(ByteSpan file, const std::string& path);

/// The uncompressed size that `compressed` bytes of deflate can reach at most. One bit per copy of
/// 258 bytes is the limit of the format; a directory that promises more is lying.
std::uint64_t inflate_bound(std::uint64_t compressed);

/// Throws Error(checkpoint) unless `crc` is the CRC-32 of the bytes.
void check_crc(ByteSpan bytes, std::uint32_t crc, std::string_view what, const std::string& path);

/// All bytes of a small member (a pickle, a version number), decompressed and checked. Throws
/// Error(checkpoint) when it is longer than `limit`.
std::vector<std::uint8_t> read_zip_member(const ZipMember& member, std::uint64_t limit,
                                          const std::string& path);

/// Reads a member from front to back, in pieces of the caller's choice, decompressing on the way,
/// and checks its CRC when the last byte has been read.
class ZipMemberReader {
 public:
  ZipMemberReader(const ZipMember& member, std::string path);
  ~ZipMemberReader();
  ZipMemberReader(const ZipMemberReader&) = delete;
  ZipMemberReader& operator=(const ZipMemberReader&) = delete;
  /// Exactly `bytes` bytes; throws Error(checkpoint) when the data are damaged or end early.
  void read(void* to, std::size_t bytes);
  std::uint64_t remaining() const { return member_.size - position_; }

 private:
  struct Inflater;
  ZipMember member_;
  std::string path_;
  std::uint64_t position_ = 0;
  std::uint32_t crc_ = 0;
  std::unique_ptr<Inflater> inflater_;
};

}  // namespace tiller
