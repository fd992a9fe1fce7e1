#include "tools/sampling/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace tiller {

Spool::Spool(const std::string& folder, const Shape& picture) : folder_(folder), picture_(picture) {
  descriptor_ = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor_ < 0) {  // a file system without nameless files
    std::string name = folder + "/.pictures-XXXXXX";
    descriptor_ = mkstemp(name.data());
    if (descriptor_ >= 0) unlink(name.c_str());
  }
  if (descriptor_ < 0)
    fail(ErrorKind::failed, fmt::format("cannot write in {}: {}", folder, std::strerror(errno)));
}

Spool::~Spool() { close(descriptor_); }

void Spool::append(const Tensor& picture) {
  const Tensor host = picture.to(kCpu).contiguous();
  TILLER_CHECK(host.shape() == picture_ && host.dtype() == DType::u8, "spool of {}: got {}",
               to_string(picture_), to_string(host));
  const auto* from = host.data<std::uint8_t>();
  const auto bytes = static_cast<std::int64_t>(host.bytes());
  for (std::int64_t done = 0; done < bytes;) {
    const ssize_t wrote = pwrite(descriptor_, from + done, static_cast<std::size_t>(bytes - done),
                                 size_ * bytes + done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0)
      fail(ErrorKind::failed, fmt::format("cannot write in {}: {}", folder_,
                                          std::strerror(wrote < 0 ? errno : ENOSPC)));
    done += wrote;
  }
  ++size_;
}

Tensor Spool::read(std::int64_t first, std::int64_t n) const {
  TILLER_CHECK(first >= 0 && n >= 0 && first + n <= size_, "spool: pictures {} to {} of {}", first,
               first + n, size_);
  const Tensor out =
      Tensor::empty({n, picture_[0], picture_[1], picture_[2]}, DType::u8);  // [n,H,W,C]
  auto* to = out.data<std::uint8_t>();
  const auto bytes = static_cast<std::int64_t>(out.bytes());
  for (std::int64_t done = 0; done < bytes;) {
    const ssize_t got = pread(descriptor_, to + done, static_cast<std::size_t>(bytes - done),
                              first * picture_.numel() + done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      fail(ErrorKind::failed, fmt::format("cannot read back what was written in {}: {}", folder_,
                                          std::strerror(got < 0 ? errno : EIO)));
    done += got;
  }
  return out;
}

}  // namespace tiller
