#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/files/atomic_file.h"

namespace tiller {

/// Whose zip files to write: they differ in headers only, and each is laid out as its original.
enum class ZipStyle : std::uint8_t {
  torch,  ///< data at multiples of 64 bytes, sizes behind the data, always a ZIP64 end record
  numpy,  ///< sizes in a ZIP64 field of the local header, ZIP64 end record when needed
};

/// Writes a zip archive from front to back into an AtomicFile; members may be larger than memory
/// and larger than 4 GiB. Nothing stands at `path` before finish(). Throws Error(failed).
///
/// This is our own writer rather than libzip because libzip writes only when the archive is closed
/// (a streamed array would have to be kept until then) and cannot align the data of a member.
class ZipWriter {
 public:
  ZipWriter(const std::string& path, ZipStyle style);
  ~ZipWriter();
  ZipWriter(ZipWriter&&) noexcept;
  ZipWriter& operator=(ZipWriter&&) noexcept;
  /// Starts a member of `size` uncompressed bytes, which must then be appended exactly.
  void begin(std::string_view name, std::uint64_t size, bool deflate = false);
  void append(const void* data, std::size_t bytes);
  void end();
  /// begin, append, end.
  void add(std::string_view name, std::string_view bytes, bool deflate = false);
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tiller
