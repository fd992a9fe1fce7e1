#include "tools/pictures/sheet.h"

#include <algorithm>
#include <cmath>

#include "tools/pictures/text.h"

namespace tiller {

namespace {

constexpr Colour kPaper = {255, 255, 255};
constexpr Colour kInk = {30, 30, 30};
constexpr std::int64_t kMargin = 8;  // around the sheet
constexpr std::int64_t kGap = 4;     // between cells, and between a picture and its text
constexpr std::int64_t kTitleScale = 2;

struct Layout {
  std::int64_t columns = 1, rows = 1, zoom = 1;
  std::int64_t picture_width = 0, picture_height = 0;  // on the sheet
  std::int64_t cell_width = 0, cell_height = 0;        // with caption and gap
  std::int64_t left = 0, top = 0;                      // of the first cell
  std::int64_t width = 0, height = 0;                  // of the sheet
};

TextSize largest(const std::vector<std::string>& texts) {
  TextSize size;
  for (const std::string& text : texts) {
    const TextSize t = text_size(text);
    size = {std::max(size.width, t.width), std::max(size.height, t.height)};
  }
  return size;
}

Layout lay_out(const Sheet& sheet) {
  const auto first = std::find_if(sheet.pictures.begin(), sheet.pictures.end(),
                                  [](const Tensor& p) { return p.defined(); });
  TILLER_CHECK(first != sheet.pictures.end(), "a sheet needs a picture");
  for (const Tensor& p : sheet.pictures)
    TILLER_CHECK(!p || (p.dtype() == DType::u8 && p.rank() == 3 && p.shape() == first->shape() &&
                        (p.dim(2) == 1 || p.dim(2) == 3 || p.dim(2) == 4)),
                 "a sheet of {} cannot hold {}", to_string(*first), to_string(p));
  Layout l;
  const auto count = static_cast<std::int64_t>(sheet.pictures.size());
  l.columns = sheet.columns > 0
                  ? sheet.columns
                  : static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  l.rows = (count + l.columns - 1) / l.columns;
  l.zoom = sheet.zoom > 0 ? sheet.zoom : std::max<std::int64_t>(1, 64 / first->dim(1));
  l.picture_height = first->dim(0) * l.zoom;
  l.picture_width = first->dim(1) * l.zoom;

  const TextSize caption = largest(sheet.captions);
  const TextSize above = largest(sheet.column_labels);
  const TextSize beside = largest(sheet.row_labels);
  l.cell_width = std::max({l.picture_width, caption.width, above.width}) + kGap;
  l.cell_height =
      std::max(l.picture_height + (caption.height > 0 ? kGap + caption.height : 0), beside.height) +
      kGap;
  l.left = kMargin + (beside.width > 0 ? beside.width + 2 * kGap : 0);
  l.top = kMargin + (above.height > 0 ? above.height + kGap : 0);
  l.width = l.left + l.columns * l.cell_width - kGap + kMargin;
  if (!sheet.title.empty()) {
    const TextSize title = text_size(sheet.title, kTitleScale);
    l.top += title.height + kGap;
    l.width = std::max(l.width, title.width + 2 * kMargin);
  }
  l.height = l.top + l.rows * l.cell_height - kGap + kMargin;
  return l;
}

void draw_picture(const Tensor& canvas, const Tensor& picture, std::int64_t left, std::int64_t top,
                  std::int64_t zoom) {
  const Tensor p = picture.to(kCpu).contiguous();  // [H,W,C]
  const auto* from = p.data<std::uint8_t>();
  auto* to = canvas.data<std::uint8_t>();
  const std::int64_t c = p.dim(2);
  for (std::int64_t y = 0; y < p.dim(0) * zoom; ++y)
    for (std::int64_t x = 0; x < p.dim(1) * zoom; ++x) {
      const std::uint8_t* pixel = from + ((y / zoom) * p.dim(1) + x / zoom) * c;
      std::uint8_t* out = to + ((top + y) * canvas.dim(1) + left + x) * 3;
      for (std::int64_t k = 0; k < 3; ++k) out[k] = pixel[c == 1 ? 0 : k];
    }
}

}  // namespace

Tensor draw_sheet(const Sheet& sheet) {
  const Layout l = lay_out(sheet);
  const Tensor canvas = Tensor::empty({l.height, l.width, 3}, DType::u8);
  auto* pixels = canvas.data<std::uint8_t>();
  for (std::int64_t i = 0; i < l.height * l.width; ++i)
    std::copy(kPaper.begin(), kPaper.end(), pixels + i * 3);

  draw_text(canvas, kMargin, kMargin, sheet.title, kInk, kTitleScale);
  // Centred over or under a picture that starts at x.
  const auto centred = [&](const std::string& text, std::int64_t x, std::int64_t y) {
    draw_text(canvas, x + (l.cell_width - kGap - text_size(text).width) / 2, y, text, kInk);
  };
  for (std::size_t i = 0; i < sheet.column_labels.size(); ++i) {
    const std::string& label = sheet.column_labels[i];
    centred(label, l.left + static_cast<std::int64_t>(i) * l.cell_width,
            l.top - kGap - text_size(label).height);
  }
  for (std::size_t i = 0; i < sheet.row_labels.size(); ++i) {
    const TextSize size = text_size(sheet.row_labels[i]);
    const std::int64_t top = l.top + static_cast<std::int64_t>(i) * l.cell_height;
    draw_text(canvas, l.left - 2 * kGap - size.width,
              top + std::max<std::int64_t>(0, l.picture_height - size.height) / 2,
              sheet.row_labels[i], kInk);
  }
  for (std::size_t i = 0; i < sheet.pictures.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    const std::int64_t x = l.left + index % l.columns * l.cell_width;
    const std::int64_t y = l.top + index / l.columns * l.cell_height;
    if (sheet.pictures[i])
      draw_picture(canvas, sheet.pictures[i], x + (l.cell_width - kGap - l.picture_width) / 2, y,
                   l.zoom);
    if (i < sheet.captions.size()) centred(sheet.captions[i], x, y + l.picture_height + kGap);
  }
  return canvas;
}

}  // namespace tiller
