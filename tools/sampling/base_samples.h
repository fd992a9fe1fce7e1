#pragma once
// Pictures that a command takes in, with their labels: --base_samples, --data_dir.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/tensor.h"

namespace tiller {

struct Pictures {
  Tensor pixels;                     // [N,H,W,C] u8, or f32 in [-1, 1]
  std::vector<std::int64_t> labels;  ///< one each, or empty
  std::int64_t cropped = 0;          ///< how many had another size
};

/// How the names of picture files tell their class.
enum class NameLabels : std::uint8_t {
  sample,  ///< 000000_c207.png is of class 207, as `tiller sample` writes them
  prefix,  ///< the text before the first underscore, numbered in sorted order, as guided-diffusion
           ///< reads its data; a name without an underscore has no class
};

/// Reads an npz (arr_0 [N,H,W,C] u8, or f32 in [-1, 1] as the networks see them; labels in arr_1
/// i64 [N]), one picture, or every picture of a folder in the order of their names (searched
/// recursively; of a folder that `tiller sample` wrote, the samples alone). Files of another size
/// than side x side are scaled and cropped to it, the middle kept (guided-diffusion's
/// center_crop_arr); with side 0 all must have one size. Throws Error(failed) naming the file,
/// Error(checkpoint) for an npz that holds something else.
Pictures read_pictures(const std::string& path, NameLabels names, std::int64_t side = 0);

/// A picture file that `tiller sample` wrote: its index, and its class (-1: none).
struct SampleName {
  std::int64_t index = 0, label = -1;
};
/// What a file's name without its extension says, if it has the form 000000 or 000000_c207.
std::optional<SampleName> parse_sample_name(const std::string& stem);

/// Pictures first .. first + n - 1 as the networks see them: f32 [n,H,W,C]. Starts again behind the
/// last one, as guided-diffusion's loader fills its last batch.
Tensor network_input(const Pictures& pictures, std::int64_t first, std::int64_t n);

}  // namespace tiller
