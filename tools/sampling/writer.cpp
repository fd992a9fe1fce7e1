#include "tools/sampling/writer.h"

#include <algorithm>
#include <filesystem>

#include "runtime/files/image.h"
#include "runtime/files/npz.h"
#include "tools/pictures/sheet.h"

namespace tiller {

namespace {

// A sheet of more pictures, or a larger one, is no longer something to look at.
constexpr std::int64_t kSheetPictures = 400;
constexpr std::int64_t kSheetPixels = std::int64_t{1} << 26;

std::vector<Tensor> pictures_of(const Tensor& pixels) {
  std::vector<Tensor> pictures;
  for (std::int64_t i = 0; i < pixels.dim(0); ++i)
    pictures.push_back(
        pixels.slice(i, i + 1).reshape({pixels.dim(1), pixels.dim(2), pixels.dim(3)}));
  return pictures;
}

std::string class_text(std::int64_t label, const std::vector<std::string>& names) {
  const auto i = static_cast<std::size_t>(label);
  return i < names.size() ? names[i] : fmt::format("class {}", label);
}

}  // namespace

SaveChoice parse_save(const std::string& text) {
  SaveChoice choice;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    begin = end + 1;
    bool* const flag = word == "png"    ? &choice.png
                       : word == "npz"  ? &choice.npz
                       : word == "grid" ? &choice.grid
                                        : nullptr;
    if (!flag)
      fail(ErrorKind::usage,
           fmt::format("--save {}: '{}' is not one of png, npz, grid (with commas between)", text,
                       word));
    *flag = true;
  }
  return choice;
}

SampleWriter::SampleWriter(RunRecord record) : record_(std::move(record)) {
  const std::int64_t c = record_.picture[2];
  if ((record_.save.png || record_.save.grid) && c != 1 && c != 3 && c != 4)
    fail(ErrorKind::usage, fmt::format("no PNG holds pictures of {} channels; use --save npz", c));
  std::error_code error;
  std::filesystem::create_directories(record_.folder, error);
  if (error || !std::filesystem::is_directory(record_.folder))
    fail(ErrorKind::failed,
         fmt::format("--out {}: cannot make the folder: {}", record_.folder,
                     error ? error.message() : "a file of that name stands there"));
  if (record_.save.npz || record_.save.grid)
    spool_ = std::make_unique<Spool>(record_.folder, record_.picture);
}

std::string SampleWriter::caption(std::int64_t index, std::int64_t label) const {
  if (label < 0) return fmt::format("{:06}", index);
  return fmt::format("{:06} {}", index, class_text(label, record_.class_names));
}

std::map<std::string, std::string> SampleWriter::text(std::int64_t index,
                                                      std::int64_t label) const {
  std::map<std::string, std::string> text = record_.configuration;
  text["index"] = std::to_string(index);
  if (label >= 0) {
    text["class"] = std::to_string(label);
    if (!record_.class_names.empty()) text["class_name"] = class_text(label, record_.class_names);
  }
  if (record_.command) text["command"] = record_.command(index, label);
  return text;
}

void SampleWriter::add(const Tensor& pixels, const std::vector<std::int64_t>& labels) {
  const std::vector<Tensor> pictures = pictures_of(pixels);
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const std::int64_t index = record_.first_index + finished_;
    const std::int64_t label = record_.labelled ? labels[i] : -1;
    if (record_.save.png) {
      const std::string name =
          label >= 0 ? fmt::format("{:06}_c{}.png", index, label) : fmt::format("{:06}.png", index);
      write_png(record_.folder + "/" + name, pictures[i], text(index, label));
    }
    if (spool_) spool_->append(pictures[i]);
    labels_.push_back(label);
    ++finished_;
  }
}

void SampleWriter::preview(const Tensor& pixels, const std::vector<std::int64_t>& labels,
                           const std::string& title) const {
  Sheet sheet;
  sheet.pictures = pictures_of(pixels);
  sheet.title = title;
  for (std::size_t i = 0; i < sheet.pictures.size(); ++i)
    sheet.captions.push_back(caption(record_.first_index + finished_ + static_cast<std::int64_t>(i),
                                     record_.labelled ? labels[i] : -1));
  write_png(record_.folder + "/preview.png", draw_sheet(sheet), record_.configuration);
}

std::vector<std::string> SampleWriter::finish() {
  std::vector<std::string> paths;
  if (finished_ == 0) return paths;
  const Shape& p = record_.picture;
  if (record_.save.grid) {
    paths.push_back(record_.folder + "/grid.png");
    write_grid(paths.back());
  }
  if (record_.save.npz) {
    const std::string from =
        record_.first_index > 0 ? fmt::format("_from_{:06}", record_.first_index) : "";
    paths.push_back(fmt::format("{}/samples_{}x{}x{}x{}{}.npz", record_.folder, finished_, p[0],
                                p[1], p[2], from));
    write_npz(paths.back());
  }
  return paths;
}

void SampleWriter::write_npz(const std::string& path) const {
  const Shape& p = record_.picture;
  NpzWriter file(path);
  file.begin("arr_0", DType::u8, {finished_, p[0], p[1], p[2]});
  constexpr std::int64_t kBlock = 64;
  for (std::int64_t i = 0; i < finished_; i += kBlock)
    file.append(spool_->read(i, std::min(kBlock, finished_ - i)));
  if (record_.labelled) file.write("arr_1", Tensor::from(labels_, {finished_}));
  file.finish();
}

void SampleWriter::write_grid(const std::string& path) const {
  const std::int64_t count = std::min(
      {finished_, kSheetPictures,
       std::max<std::int64_t>(1, kSheetPixels / (record_.picture[0] * record_.picture[1]))});
  Sheet sheet;
  sheet.pictures = pictures_of(spool_->read(0, count));
  for (std::int64_t i = 0; i < count; ++i)
    sheet.captions.push_back(
        caption(record_.first_index + i, labels_[static_cast<std::size_t>(i)]));
  if (count < finished_) sheet.title = fmt::format("the first {} of {}", count, finished_);
  write_png(path, draw_sheet(sheet), record_.configuration);
}

}  // namespace tiller
