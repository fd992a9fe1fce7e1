#pragma once
// A product's weights as its tasks unpack them (kernels/gemm/unpack.h): the reduction is cut into
// stretches that fit a core's cache, and stands in the order stretch, tap, element.
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/gemm/microkernel.h"
#include "kernels/gemm/pack.h"

namespace tiller {

constexpr std::int64_t kFreshFloats = 64 * 1024;  ///< of a stretch of one panel: 256 KiB
constexpr std::int64_t kFreshTaps = 16;           ///< most taps of a weight that is unpacked

/// Where the values of a weight [K,R,S,C] or [K,C] lie: in its own f32 elements, or, when it is
/// frozen, where they come from.
RawWeight raw_weight(const Tensor& w);

/// Whether a product in `dtype` unpacks this weight instead of keeping a packed form: it is frozen,
/// and read in the order in which a file has it.
bool reads_frozen(const Tensor& w, DType dtype);

/// Part of one weight's reduction, whose elements meet channels [at, at + end - begin) of the
/// segments `segment`, `segment` + `segment_step`, ...: one for each of the form's groups.
struct FreshStretch {
  RawWeight w;
  UnpackKernel kernel;
  PackForm form;
  std::int64_t begin, end;  ///< of the reduction
  std::int64_t segment, segment_step, at;
};

/// Cuts [begin, end) of a weight's reduction into stretches and appends them.
void add_stretches(const Tensor& w, const PackForm& form, const Microkernels& kernels,
                   std::int64_t begin, std::int64_t end, std::int64_t segment,
                   std::int64_t segment_step, std::vector<FreshStretch>& to);

/// Unpacks one panel of the stretch into `floats` [kFreshFloats]; the runs over it, in `runs`
/// [kFreshTaps], have a panel_stride of zero.
std::span<const GemmRun> unpack(const FreshStretch& stretch, std::int64_t panel,
                                std::int64_t columns, float* floats, GemmRun* runs);

}  // namespace tiller
