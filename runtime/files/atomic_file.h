#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace tiller {

/// A file that appears whole or not at all: written without a name (or, where the file system cannot
/// do that, under a temporary one) in the same folder, then fsync and rename. Destroyed before
/// commit(), it leaves nothing. Throws Error(failed) with the
/// system's reason (disk full, no permission, missing folder).
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// Position in bytes from the start.
  std::size_t position() const { return position_; }
  /// Overwrites bytes that were written before, without moving the position.
  void patch(std::size_t at, const void* data, std::size_t bytes);
  void commit();

 private:
  std::string temporary_name() const;
  bool open_unnamed();
  void give_temporary_name();

  std::string path_, temporary_;
  int descriptor_ = -1;
  bool unnamed_ = false;  // whether the open file has no name yet
  std::size_t position_ = 0;
};

}  // namespace tiller
