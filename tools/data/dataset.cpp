#include "tools/data/dataset.h"

#include <filesystem>

#include "tools/data/formats.h"

namespace tiller {

namespace {

// As PIL's convert("L"): ITU-R 601 in 16-bit fractions.
Tensor grey(const Tensor& picture) {
  const Tensor out = Tensor::empty(picture.shape().with(2, 1), DType::u8);
  const auto* in = picture.data<std::uint8_t>();
  for (std::int64_t i = 0; i < out.numel(); ++i, in += 3)
    out.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(
        (in[0] * 19595u + in[1] * 38470u + in[2] * 7471u + 0x8000u) >> 16);
  return out;
}

Tensor repeated(const Tensor& picture) {
  const Tensor out = Tensor::empty(picture.shape().with(2, 3), DType::u8);
  for (std::int64_t i = 0; i < out.numel(); ++i)
    out.data<std::uint8_t>()[i] = picture.data<std::uint8_t>()[i / 3];
  return out;
}

}  // namespace

void Dataset::set_channels(const std::string& path, std::int64_t stored, std::int64_t asked) {
  TILLER_CHECK(
      asked == 0 || asked == stored || (asked == 1 && stored == 3) || (asked == 3 && stored == 1),
      "{}: its pictures have {} channels and cannot be given {}; only 3 become 1 and 1 "
      "become 3",
      path, stored, asked);
  channels_ = asked == 0 ? stored : asked;
}

Tensor Dataset::picture(std::int64_t i) const {
  TILLER_CHECK(i >= 0 && i < size_, "there is no picture {} in a set of {}", i, size_);
  const Tensor stored = read(i).contiguous();
  if (stored.dim(2) == channels_) return stored;
  return channels_ == 1 ? grey(stored) : repeated(stored);
}

std::shared_ptr<const Dataset> open_dataset(const std::string& path,
                                            const DatasetOptions& options) {
  TILLER_CHECK(std::filesystem::exists(path), "{}: there is no such file or folder", path);
  const bool npz = std::filesystem::path(path).extension() == ".npz";
  if (npz || is_cifar(path)) {
    if (options.labels == LabelSource::folders || options.labels == LabelSource::names)
      fail(ErrorKind::usage,
           fmt::format("{}: classes by {} need a folder of picture files; {} its labels beside the "
                       "pictures: leave --labels out",
                       path, options.labels == LabelSource::folders ? "folders" : "names",
                       npz ? "an npz has" : "CIFAR-10's batches have"));
    return npz ? open_npz_pictures(path, options) : open_cifar(path, options);
  }
  return open_picture_files(path, options);
}

}  // namespace tiller
