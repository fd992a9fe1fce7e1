// CIFAR-10's binary batches, mapped.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "runtime/files/mapped_file.h"
#include "tools/data/formats.h"
#include "tools/data/labels.h"

namespace tiller {

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSide = 32, kPlane = kSide * kSide, kRecord = 1 + 3 * kPlane;

bool is_batch(const fs::path& path, const char* begins) {
  return path.extension() == ".bin" && path.filename().string().starts_with(begins);
}

std::vector<std::string> batches_of(const std::string& path) {
  if (!fs::is_directory(path)) return {path};
  for (const char* kind : {"data_batch", "test_batch"}) {
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(path))
      if (entry.is_regular_file() && is_batch(entry.path(), kind)) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    if (!files.empty()) return files;
  }
  return {};
}

// One name a line; none when there is no such file.
std::vector<std::string> read_class_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::ifstream file(folder / "batches.meta.txt");
  for (std::string line; std::getline(file, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  return names;
}

class Cifar final : public Dataset {
 public:
  Cifar(const std::string& path, const DatasetOptions& options) {
    Labelling classes;
    const bool folder = fs::is_directory(path);
    classes.class_names = read_class_names(folder ? fs::path(path) : fs::path(path).parent_path());
    classes.named = !classes.class_names.empty();
    classes.source = classes.named ? "batches.meta.txt" : "the records' first bytes";
    if (!classes.named) classes.class_names = numbered_classes(10);
    for (const std::string& file : batches_of(path)) {
      files_.push_back(MappedFile::open(file));
      const ByteSpan bytes = files_.back()->bytes();
      TILLER_CHECK_FILE(bytes.size() % kRecord == 0,
                        "{}: {} bytes are no multiple of CIFAR-10's records of {}: it is damaged, "
                        "a truncated download, or another kind of file",
                        file, bytes.size(), kRecord);
      for (std::size_t at = 0; at < bytes.size(); at += kRecord) {
        TILLER_CHECK_FILE(bytes[at] < classes.class_names.size(),
                          "{}: record {} is of class {}; there are {} classes", file, at / kRecord,
                          bytes[at], classes.class_names.size());
        classes.labels.push_back(bytes[at]);
      }
      ends_.push_back(static_cast<std::int64_t>(classes.labels.size()));
    }
    size_ = ends_.back();
    set_channels(path, 3, options.channels);
    if (options.labels == LabelSource::none) classes = {};
    renumber(classes, path, options.class_names);
    description_ = fmt::format("{} pictures in {} CIFAR-10 batch{} of {}, {}", size_, files_.size(),
                               files_.size() == 1 ? "" : "es", path, in_words(classes));
    class_names_ = std::move(classes.class_names);
    labels_ = std::move(classes.labels);
  }

  std::string name(std::int64_t i) const override {
    const auto [file, record] = find(i);
    return fmt::format("{}[{}]", file->path(), record);
  }

 protected:
  Tensor read(std::int64_t i) const override {
    const auto [file, record] = find(i);
    const std::uint8_t* planes = file->bytes().data() + record * kRecord + 1;
    std::vector<std::uint8_t> pixels;  // [32,32,3]
    pixels.reserve(kRecord - 1);
    for (std::int64_t p = 0; p < kPlane; ++p)
      for (std::int64_t c = 0; c < 3; ++c) pixels.push_back(planes[c * kPlane + p]);
    return Tensor::from(pixels, {kSide, kSide, 3});
  }

 private:
  std::pair<const MappedFile*, std::int64_t> find(std::int64_t i) const {
    const auto file = std::upper_bound(ends_.begin(), ends_.end(), i) - ends_.begin();
    return {files_[static_cast<std::size_t>(file)].get(),
            file == 0 ? i : i - ends_[static_cast<std::size_t>(file - 1)]};
  }
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::vector<std::int64_t> ends_;  // of each file's pictures
};

}  // namespace

bool is_cifar(const std::string& path) {
  return fs::is_directory(path) ? !batches_of(path).empty() : fs::path(path).extension() == ".bin";
}

std::shared_ptr<const Dataset> open_cifar(const std::string& path, const DatasetOptions& options) {
  return std::make_shared<Cifar>(path, options);
}

}  // namespace tiller
