#include "runtime/files/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "runtime/error.h"

namespace tiller {

namespace {

constexpr int kAttempts = 100;  // at a name that no other file has
constexpr const char* kDescriptors = "/proc/self/fd";

[[noreturn]] void refuse(const std::string& path, int reason) {
  std::string hint;
  if (reason == ENOENT) hint = " (the folder does not exist)";
  if (reason == EFBIG) hint = " (the file would exceed the limit on file sizes)";
  fail(ErrorKind::failed, fmt::format("cannot write {}: {}{}", path, std::strerror(reason), hint));
}

// A link is followed, so that what it points to is replaced and the link stays.
std::string resolve_link(const std::string& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0 || !S_ISLNK(status.st_mode)) return path;
  char* real = realpath(path.c_str(), nullptr);
  if (!real) return path;
  std::string result = real;
  std::free(real);
  return result;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(resolve_link(path)) {
  struct stat status {};
  const bool exists = stat(path_.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) refuse(path_, EISDIR);
  if (exists && !S_ISREG(status.st_mode)) {
    // A device or a pipe cannot be replaced by a rename; it is written in place.
    descriptor_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) refuse(path_, errno);
    return;
  }
  if (!open_unnamed()) {
    for (int attempt = 0; descriptor_ < 0; ++attempt) {
      temporary_ = temporary_name();
      descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (descriptor_ < 0 && (errno != EEXIST || attempt == kAttempts)) refuse(path_, errno);
    }
  }
  // A file that is replaced keeps its permissions.
  if (exists) (void)!fchmod(descriptor_, status.st_mode & 07777);
}

std::string AtomicFile::temporary_name() const {
  static std::atomic<unsigned> counter{0};
  return fmt::format("{}.tmp-{}-{}", path_, getpid(), counter++);
}

// Linux can write a file that has no name until it is whole: not even a kill leaves anything behind.
// Some file systems cannot, and /proc is needed to give the name.
bool AtomicFile::open_unnamed() {
  if (access(kDescriptors, X_OK) != 0) return false;
  descriptor_ = open(folder_of(path_).c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
  unnamed_ = descriptor_ >= 0;
  return unnamed_;
}

void AtomicFile::give_temporary_name() {
  const std::string unnamed = fmt::format("{}/{}", kDescriptors, descriptor_);
  for (int attempt = 0; unnamed_; ++attempt) {
    const std::string name = temporary_name();
    if (linkat(AT_FDCWD, unnamed.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      temporary_ = name;
      unnamed_ = false;
    } else if (errno != EEXIST || attempt == kAttempts) {
      refuse(path_, errno);
    }
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  TILLER_CHECK(descriptor_ >= 0, "cannot write {}: the file is closed already", path_);
  const auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t done = ::write(descriptor_, from, bytes < SSIZE_MAX ? bytes : SSIZE_MAX);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) refuse(path_, done < 0 ? errno : EIO);
    from += done;
    bytes -= static_cast<std::size_t>(done);
    position_ += static_cast<std::size_t>(done);
  }
}

void AtomicFile::patch(std::size_t at, const void* data, std::size_t bytes) {
  TILLER_CHECK(at <= position_ && bytes <= position_ - at,
               "cannot patch {}: bytes {}..{} were not written yet", path_, at, at + bytes);
  const auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t done = pwrite(descriptor_, from, bytes, static_cast<off_t>(at));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) refuse(path_, done < 0 ? errno : EIO);
    from += done;
    at += static_cast<std::size_t>(done);
    bytes -= static_cast<std::size_t>(done);
  }
}

void AtomicFile::commit() {
  TILLER_CHECK(descriptor_ >= 0, "cannot write {}: the file is closed already", path_);
  // Without fsync a crash after the rename could leave an empty file under the final name. Devices
  // and pipes answer EINVAL.
  if (fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS) refuse(path_, errno);
  give_temporary_name();
  const int closed = close(descriptor_);
  descriptor_ = -1;
  if (closed != 0) refuse(path_, errno);
  if (temporary_.empty()) return;
  if (rename(temporary_.c_str(), path_.c_str()) != 0) refuse(path_, errno);
  temporary_.clear();
  const int folder = open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    (void)fsync(folder);  // best effort: the file itself is safe
    close(folder);
  }
}

}  // namespace tiller
