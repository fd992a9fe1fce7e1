#include "runtime/files/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace tiller {

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path, ErrorKind kind) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    fail(kind, fmt::format("cannot read {}: {}", path,
                           errno == ENOENT ? "there is no such file" : std::strerror(errno)));
  struct stat status {};
  const bool known = fstat(descriptor, &status) == 0;
  std::string problem;
  if (!known) {
    problem = std::strerror(errno);
  } else if (S_ISDIR(status.st_mode)) {
    problem = "it is a folder, not a file";
  } else if (!S_ISREG(status.st_mode)) {
    problem = "it is not a regular file (a pipe cannot be mapped; save it to disk first)";
  } else if (status.st_size == 0) {
    problem = "the file is empty (a download or a save that failed?)";
  }
  void* data = MAP_FAILED;
  if (problem.empty()) {
    data = mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE,
                descriptor, 0);
    if (data == MAP_FAILED) problem = std::strerror(errno);
  }
  close(descriptor);
  if (!problem.empty()) fail(kind, fmt::format("cannot read {}: {}", path, problem));
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  file->data_ = static_cast<std::uint8_t*>(data);
  file->size_ = static_cast<std::size_t>(status.st_size);
  file->mapped_ = true;
  return file;
}

std::shared_ptr<const MappedFile> MappedFile::copy(ByteSpan bytes, const std::string& path) {
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  file->size_ = bytes.size();
  file->data_ = static_cast<std::uint8_t*>(std::aligned_alloc(64, (bytes.size() + 64) / 64 * 64));
  TILLER_CHECK(file->data_, "no memory for the {} bytes of {}", bytes.size(), path);
  if (!bytes.empty()) std::memcpy(file->data_, bytes.data(), bytes.size());
  return file;
}

void MappedFile::forget(ByteSpan part) const {
  if (!mapped_) return;  // memory of our own would be lost
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const auto first = static_cast<std::size_t>(part.data() - data_);
  const std::size_t begin = (first + page - 1) / page * page;
  const std::size_t end = (first + part.size()) / page * page;
  if (begin < end) madvise(data_ + begin, end - begin, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (mapped_) {
    munmap(data_, size_);
  } else {
    std::free(data_);
  }
}

}  // namespace tiller
