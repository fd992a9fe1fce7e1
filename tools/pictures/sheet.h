#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/tensor.h"

namespace tiller {

/// Pictures side by side, with what a person needs to read them.
struct Sheet {
  std::vector<Tensor> pictures;  // u8 [H,W,C] each, of one size, C of 1, 3 or 4; row by row.
                                 // An undefined one leaves its cell empty
  std::int64_t columns = 0;      ///< 0: about as many as rows
  std::string title;             ///< above everything, in larger letters
  std::vector<std::string> column_labels;  ///< above the columns
  std::vector<std::string> row_labels;     ///< left of the rows; '\n' starts a line
  std::vector<std::string> captions;       ///< below each picture
  std::int64_t zoom = 0;  ///< each pixel becomes a square of this side; 0: so that a picture is at
                          ///< least 64 pixels wide
};

/// Draws the sheet: u8 [H,W,3] on the host. Throws Error when a picture's size differs from the
/// first one's.
Tensor draw_sheet(const Sheet& sheet);

}  // namespace tiller
