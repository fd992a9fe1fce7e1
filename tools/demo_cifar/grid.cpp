#include "tools/demo_cifar/grid.h"

#include "tools/pictures/sheet.h"

namespace tiller::demo {

Tensor draw_class_grid(const std::vector<GridBlock>& blocks,
                       const std::vector<std::string>& class_names) {
  Sheet sheet;
  sheet.title = "The same noise, steered to each class";
  sheet.columns = static_cast<std::int64_t>(class_names.size());
  sheet.column_labels = class_names;
  for (const GridBlock& block : blocks) {
    const Tensor& p = block.pictures;
    TILLER_CHECK(p.dim(0) % sheet.columns == 0, "{} pictures of {} classes fill no rows", p.dim(0),
                 sheet.columns);
    for (std::int64_t i = 0; i < p.dim(0); ++i) {
      if (i % sheet.columns == 0) sheet.row_labels.push_back(i == 0 ? block.label : "");
      sheet.pictures.push_back(p.slice(i, i + 1).reshape({p.dim(1), p.dim(2), p.dim(3)}));
    }
  }
  return draw_sheet(sheet);
}

}  // namespace tiller::demo
