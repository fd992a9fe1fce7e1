// Pictures as files: a folder is listed once, a file is decoded when it is asked for.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <mutex>
#include <set>

#include "runtime/files/image.h"
#include "tools/data/formats.h"
#include "tools/data/labels.h"

namespace tiller {

namespace {

namespace fs = std::filesystem;

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

bool is_picture(const fs::path& path) {
  const std::string extension = lower_extension(path);
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg" || extension == ".gif";
}

// The paths of the pictures below root/below, relative to root. Links to folders are followed
// (large sets are often sorted into classes by links), but not back into a folder that leads here.
void list(const fs::path& root, const std::string& below, std::set<fs::path>& above,
          std::vector<std::string>& paths) {
  const fs::path here = fs::canonical(root / below);
  if (!above.insert(here).second) return;
  for (const auto& entry : fs::directory_iterator(here)) {
    const std::string name = entry.path().filename();
    if (name.starts_with('.')) continue;
    const std::string path = below.empty() ? name : below + "/" + name;
    if (entry.is_directory())
      list(root, path, above, paths);
    else if (is_picture(entry.path()) && entry.is_regular_file())
      paths.push_back(path);
  }
  above.erase(here);
}

// What a person may have given who has no pictures there.
std::string advice(const fs::path& path) {
  if (fs::exists(path / "data_batch_1") || fs::exists(path / "test_batch"))
    return "; CIFAR-10 is read from its binary version (cifar-10-binary.tar.gz), not the Python "
           "one";
  const std::string extension = lower_extension(path);
  for (const char* packed : {".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".zst"})
    if (extension == packed) return "; unpack it first";
  return "";
}

class PictureFiles final : public Dataset {
 public:
  PictureFiles(const std::string& path, const DatasetOptions& options)
      : cache_bytes_(options.cache_bytes) {
    if (fs::is_directory(path)) {
      root_ = path;
      std::set<fs::path> above;
      list(root_, "", above, paths_);
      std::sort(paths_.begin(), paths_.end());
    } else if (is_picture(path)) {
      root_ = fs::path(path).parent_path();
      paths_.push_back(fs::path(path).filename());
    }
    TILLER_CHECK(
        !paths_.empty(),
        "{}: no pictures: data are a folder of .png, .jpg, .jpeg or .gif files, CIFAR-10's "
        ".bin batches, or an .npz{}",
        path, advice(path));
    size_ = static_cast<std::int64_t>(paths_.size());
    set_channels(path, 3, options.channels);
    Labelling classes = label_files(path, paths_, options.labels);
    renumber(classes, path, options.class_names);
    description_ = fmt::format("{} pictures in {}, {}", size_, path, in_words(classes));
    class_names_ = std::move(classes.class_names);
    labels_ = std::move(classes.labels);
  }

  std::string name(std::int64_t i) const override {
    return (root_ / paths_[static_cast<std::size_t>(i)]).string();
  }

 protected:
  Tensor read(std::int64_t i) const override {
    const auto index = static_cast<std::size_t>(i);
    {
      const std::lock_guard lock(mutex_);
      if (!cache_.empty() && cache_[index]) return cache_[index];
    }
    const Tensor picture = read_image(name(i));  // [H,W,3]
    const std::lock_guard lock(mutex_);
    // The first picture stands for all: a set that does not fit is not kept in part, for in a new
    // order each epoch a part would rarely be asked for.
    if (first_) keeps_ = picture.bytes() <= cache_bytes_ / paths_.size();
    first_ = false;
    if (keeps_ && cached_ + picture.bytes() <= cache_bytes_) {
      cache_.resize(paths_.size());
      if (!cache_[index]) cached_ += picture.bytes();
      cache_[index] = picture;
    }
    return picture;
  }

 private:
  fs::path root_;
  std::vector<std::string> paths_;  // relative to root_
  const std::size_t cache_bytes_;
  mutable std::mutex mutex_;  // of what follows
  mutable std::vector<Tensor> cache_;
  mutable std::size_t cached_ = 0;
  mutable bool first_ = true, keeps_ = false;
};

}  // namespace

std::shared_ptr<const Dataset> open_picture_files(const std::string& path,
                                                  const DatasetOptions& options) {
  return std::make_shared<PictureFiles>(path, options);
}

}  // namespace tiller
