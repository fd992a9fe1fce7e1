#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/error.h"

namespace tiller {

using ByteSpan = std::span<const std::uint8_t>;

/// The bytes of a file, mapped read-only: opening costs nothing, pages come when they are touched.
/// Tensors that borrow from it keep it alive through the shared pointer.
///
/// The size is taken once, at opening; somebody who truncates the file meanwhile ends the program
/// (SIGBUS), as with every mapped file.
class MappedFile {
 public:
  /// Throws Error(kind) for a missing or empty file, a directory, or one without permission.
  static std::shared_ptr<const MappedFile> open(const std::string& path,
                                                ErrorKind kind = ErrorKind::checkpoint);
  /// A copy of bytes in memory, aligned as a mapped file is. `path` is used in messages.
  static std::shared_ptr<const MappedFile> copy(ByteSpan bytes, const std::string& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  /// Starts at a multiple of 64 bytes.
  ByteSpan bytes() const { return {data_, size_}; }
  /// Lets the whole pages within `part` leave this program's memory. They come again, from the
  /// system's cache of the file, when they are touched.
  void forget(ByteSpan part) const;

 private:
  MappedFile() = default;
  std::string path_;
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  bool mapped_ = false;
};

}  // namespace tiller
