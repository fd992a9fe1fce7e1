// Pictures in one array, as guided-diffusion's samplers write them.
#include <algorithm>

#include "runtime/files/npz.h"
#include "tools/data/formats.h"
#include "tools/data/labels.h"

namespace tiller {

namespace {

Labelling read_labels(const NpzReader& file, const std::string& path, std::int64_t count) {
  Labelling classes;
  if (!file.contains("arr_1")) return classes;
  const Tensor array = file.read("arr_1");  // [N]
  TILLER_CHECK_FILE((array.dtype() == DType::i64 || array.dtype() == DType::i32) &&
                        array.rank() == 1 && array.dim(0) == count,
                    "{}: arr_1 is {}; {} pictures need as many i64 labels", path, to_string(array),
                    count);
  if (array.dtype() == DType::i64) {
    classes.labels = array.to_vector<std::int64_t>();
  } else {
    const std::vector<std::int32_t> narrow = array.to_vector<std::int32_t>();
    classes.labels.assign(narrow.begin(), narrow.end());
  }
  constexpr std::int64_t kMostClasses = 1 << 20;  // beyond that arr_1 holds something else
  const auto [low, high] = std::minmax_element(classes.labels.begin(), classes.labels.end());
  TILLER_CHECK_FILE(*low >= 0 && *high < kMostClasses,
                    "{}: arr_1 has labels from {} to {}; classes are numbered from 0", path, *low,
                    *high);
  classes.class_names = numbered_classes(*high + 1);
  classes.named = false;
  classes.source = "arr_1";
  return classes;
}

class NpzPictures final : public Dataset {
 public:
  NpzPictures(const std::string& path, const DatasetOptions& options) : path_(path) {
    const NpzReader file = NpzReader::open(path);
    TILLER_CHECK_FILE(file.contains("arr_0"), "{}: no array arr_0 of pictures, u8 [N,H,W,C]", path);
    const ArrayInfo& info = file.info("arr_0");
    TILLER_CHECK_FILE(info.dtype == DType::u8 && info.shape.size() == 4 && info.bytes > 0,
                      "{}: arr_0 is {} {}; pictures are u8 [N,H,W,C], at least one", path,
                      tiller::name(info.dtype), to_string(std::span(info.shape)));
    pictures_ = file.read("arr_0");
    size_ = pictures_.dim(0);
    set_channels(path, pictures_.dim(3), options.channels);
    Labelling classes;
    if (options.labels != LabelSource::none) classes = read_labels(file, path, size_);
    renumber(classes, path, options.class_names);
    description_ = fmt::format("{} pictures of {}x{} in {}, {}", size_, pictures_.dim(2),
                               pictures_.dim(1), path, in_words(classes));
    class_names_ = std::move(classes.class_names);
    labels_ = std::move(classes.labels);
  }

  std::string name(std::int64_t i) const override { return fmt::format("{}[{}]", path_, i); }

 protected:
  Tensor read(std::int64_t i) const override {
    return pictures_.slice(i, i + 1).reshape(
        {pictures_.dim(1), pictures_.dim(2), pictures_.dim(3)});
  }

 private:
  std::string path_;
  Tensor pictures_;  // [N,H,W,C] u8
};

}  // namespace

std::shared_ptr<const Dataset> open_npz_pictures(const std::string& path,
                                                 const DatasetOptions& options) {
  return std::make_shared<NpzPictures>(path, options);
}

}  // namespace tiller
