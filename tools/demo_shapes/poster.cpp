#include "tools/demo_shapes/poster.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/demo_shapes/shapes.h"
#include "tools/pictures/pixels.h"
#include "tools/pictures/sheet.h"

namespace tiller::demo {

namespace {

constexpr std::int64_t kZoom = 3;
constexpr std::int64_t kBetween = 5;  // pixels that keep two columns apart, before the zoom
constexpr std::uint8_t kPaper = 255;

// Pictures u8 [M,kSide,kSide,3] side by side with a line of paper between, and more paper on either
// side: [kSide,W,3].
Tensor strip(const Tensor& pictures) {
  const std::int64_t count = pictures.dim(0), width = count * (kSide + 1) - 1 + kBetween;
  const Tensor out = Tensor::empty({kSide, width, 3}, DType::u8);
  auto* to = out.data<std::uint8_t>();
  std::fill_n(to, out.numel(), kPaper);
  const auto* from = pictures.data<std::uint8_t>();
  for (std::int64_t i = 0; i < count; ++i)
    for (std::int64_t y = 0; y < kSide; ++y)
      std::copy_n(from + (i * kSide + y) * kSide * 3, kSide * 3,
                  to + (y * width + kBetween / 2 + i * (kSide + 1)) * 3);
  return out;
}

}  // namespace

Tensor draw_poster(const std::vector<PosterColumn>& columns) {
  Sheet sheet;
  sheet.title = "An unconditional network, steered by a classifier";
  sheet.columns = static_cast<std::int64_t>(columns.size());
  sheet.zoom = kZoom;
  for (const PosterColumn& column : columns)
    sheet.column_labels.push_back(fmt::format("{}scale {:g}: {:.1f} % show the class of their row",
                                              column.scale == 0 ? "unguided, " : "", column.scale,
                                              100 * column.accuracy));
  for (std::int64_t label = 0; label < kClasses; ++label) {
    std::string name(kClassNames[static_cast<std::size_t>(label)]);
    std::replace(name.begin(), name.end(), ' ', '\n');
    sheet.row_labels.push_back(name);
    for (const PosterColumn& column : columns) {
      const std::int64_t count = column.pictures.dim(0) / kClasses;
      sheet.pictures.push_back(
          strip(to_pixels(column.pictures.slice(label * count, (label + 1) * count))));
    }
  }
  return draw_sheet(sheet);
}

}  // namespace tiller::demo
