#include "tools/sampling/base_samples.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>

#include "runtime/files/image.h"
#include "runtime/files/npz.h"
#include "tools/data/crop.h"
#include "tools/pictures/pixels.h"

namespace tiller {

namespace {

namespace fs = std::filesystem;

Pictures read_npz(const std::string& path) {
  const NpzReader file = NpzReader::open(path);
  TILLER_CHECK_FILE(file.contains("arr_0"),
                    "{}: no array arr_0 of pictures, u8 [N,H,W,C], as tiller sample and "
                    "guided-diffusion write them",
                    path);
  Pictures in;
  in.pixels = file.read("arr_0");
  TILLER_CHECK_FILE((in.pixels.dtype() == DType::u8 || in.pixels.dtype() == DType::f32) &&
                        in.pixels.rank() == 4 && in.pixels.numel() > 0,
                    "{}: arr_0 is {}; pictures are [N,H,W,C] u8, or f32 in [-1, 1]", path,
                    to_string(in.pixels));
  if (!file.contains("arr_1")) return in;
  const Tensor labels = file.read("arr_1");
  TILLER_CHECK_FILE((labels.dtype() == DType::i64 || labels.dtype() == DType::i32) &&
                        labels.rank() == 1 && labels.dim(0) == in.pixels.dim(0),
                    "{}: arr_1 is {}; {} pictures need as many i64 labels", path, to_string(labels),
                    in.pixels.dim(0));
  if (labels.dtype() == DType::i64) {
    in.labels = labels.to_vector<std::int64_t>();
  } else {
    const std::vector<std::int32_t> narrow = labels.to_vector<std::int32_t>();
    in.labels.assign(narrow.begin(), narrow.end());
  }
  return in;
}

bool is_picture(const fs::path& path) {
  std::string extension = path.extension();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg" || extension == ".gif";
}

std::vector<fs::path> list(const std::string& path) {
  if (!fs::is_directory(path)) return {path};
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(path))
    if (entry.is_regular_file() && is_picture(entry.path())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  TILLER_CHECK(!files.empty(), "{}: no picture (.png, .jpg, .jpeg, .gif) in this folder", path);
  // Beside samples stand a grid and a preview, which are none.
  const auto is_sample = [](const fs::path& p) { return parse_sample_name(p.stem()).has_value(); };
  if (std::any_of(files.begin(), files.end(), is_sample))
    std::erase_if(files, [&](const fs::path& p) { return !is_sample(p); });
  return files;
}

std::vector<std::int64_t> prefix_labels(const std::vector<fs::path>& files) {
  std::map<std::string, std::int64_t> classes;
  for (const fs::path& file : files) {
    const std::string stem = file.filename();
    const std::size_t underscore = stem.find('_');
    if (underscore == std::string::npos) return {};
    classes[stem.substr(0, underscore)] = 0;
  }
  std::int64_t next = 0;
  for (auto& [name, index] : classes) index = next++;
  std::vector<std::int64_t> labels;
  for (const fs::path& file : files) {
    const std::string stem = file.filename();
    labels.push_back(classes.at(stem.substr(0, stem.find('_'))));
  }
  return labels;
}

std::vector<std::int64_t> sample_labels(const std::vector<fs::path>& files) {
  std::vector<std::int64_t> labels;
  for (const fs::path& file : files) {
    const std::optional<SampleName> name = parse_sample_name(file.stem());
    if (!name || name->label < 0) return {};
    labels.push_back(name->label);
  }
  return labels;
}

}  // namespace

std::optional<SampleName> parse_sample_name(const std::string& stem) {
  const auto number = [&](std::size_t begin, std::size_t end) -> std::optional<std::int64_t> {
    std::int64_t value = 0;
    const auto [stop, error] = std::from_chars(stem.data() + begin, stem.data() + end, value);
    if (begin == end || error != std::errc() || stop != stem.data() + end || value < 0)
      return std::nullopt;
    return value;
  };
  const std::size_t digits = std::min(stem.find("_c"), stem.size());
  const auto index = number(0, digits);
  if (!index || digits < 6) return std::nullopt;
  if (digits == stem.size()) return SampleName{*index, -1};
  const auto label = number(digits + 2, stem.size());
  return label ? std::optional(SampleName{*index, *label}) : std::nullopt;
}

Pictures read_pictures(const std::string& path, NameLabels names, std::int64_t side) {
  TILLER_CHECK(fs::exists(path), "{}: there is no such file or folder", path);
  if (fs::path(path).extension() == ".npz") return read_npz(path);
  const std::vector<fs::path> files = list(path);
  Pictures in;
  for (std::size_t i = 0; i < files.size(); ++i) {
    Tensor picture = read_image(files[i]);  // [H,W,3]
    if (side > 0 && (picture.dim(0) != side || picture.dim(1) != side)) {
      picture = center_crop(picture, side);
      ++in.cropped;
    }
    if (!in.pixels)
      in.pixels = Tensor::empty(
          {static_cast<std::int64_t>(files.size()), picture.dim(0), picture.dim(1), picture.dim(2)},
          DType::u8);
    TILLER_CHECK(picture.dim(0) == in.pixels.dim(1) && picture.dim(1) == in.pixels.dim(2),
                 "{} has {}x{} pixels, {} has {}x{}: all must have one size, or be cropped to one "
                 "(nll --image_size, upsample --small_size)",
                 files[i].string(), picture.dim(1), picture.dim(0), files[0].string(),
                 in.pixels.dim(2), in.pixels.dim(1));
    std::memcpy(in.pixels.data<std::uint8_t>() + static_cast<std::int64_t>(i) * picture.numel(),
                picture.data<std::uint8_t>(), picture.bytes());
  }
  in.labels = names == NameLabels::sample ? sample_labels(files) : prefix_labels(files);
  return in;
}

Tensor network_input(const Pictures& pictures, std::int64_t first, std::int64_t n) {
  const Tensor& all = pictures.pixels;
  const Tensor chosen = Tensor::empty(all.shape().with(0, n), all.dtype());
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t from = (first + i) % all.dim(0);
    chosen.slice(i, i + 1).copy_from(all.slice(from, from + 1));
  }
  return chosen.dtype() == DType::u8 ? from_pixels(chosen) : chosen;
}

}  // namespace tiller
