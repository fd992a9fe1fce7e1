#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/files/mapped_file.h"

namespace tiller {

/// The header of an .npy file
/// (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
struct NpyHeader {
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  bool fortran_order = false;
  std::uint64_t header_bytes = 0;  ///< the data start here
  std::uint64_t data_bytes = 0;
  std::string unsupported;  ///< why the array cannot be read ("its dtype is '<U12': ..."), else ""
};

/// The most bytes that read_npy_header looks at.
inline constexpr std::size_t kNpyHeaderLimit = std::size_t{1} << 16;

/// Reads the header at the start of `bytes` (versions 1 to 3). `what` names the array in messages.
/// Throws Error(checkpoint) when it is damaged or longer than kNpyHeaderLimit; a dtype that we lack
/// is reported in `unsupported`, so that the other arrays of an .npz stay readable.
NpyHeader read_npy_header(ByteSpan bytes, const std::string& what);

/// The header as numpy writes it: version 1, padded so that the data start at a multiple of 64.
/// Throws Error(failed) for bf16, which numpy lacks.
std::string npy_header(DType dtype, const std::vector<std::int64_t>& shape);

}  // namespace tiller
