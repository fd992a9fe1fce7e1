#include "kernels/dropout/dropout.h"

#include "kernels/check.h"
#include "kernels/dropout/fast.h"
#include "kernels/dropout/reference.h"
#include "kernels/rows_cuda.h"

namespace tiller {

namespace {

void run_reference(const DropoutArgs& args, void*, Stream) {
  args.x.dtype() == DType::f64 || args.y.dtype() == DType::f64 ? dropout_reference<double>(args)
                                                               : dropout_reference<float>(args);
}

std::span<const Row<DropoutArgs>> rows(DeviceType device) {
  static const Row<DropoutArgs> cpu[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, any_arguments, nullptr,
       run_reference},
      {"v1_blocks", DeviceType::cpu, Math::f32, RowKind::fast, dropout_fast_supports, nullptr,
       dropout_fast},
  };
  if (device == DeviceType::cpu) return cpu;
  return device_rows<DropoutArgs>(device);
}

}  // namespace

void check(const DropoutArgs& args) {
  check_floating("dropout", "x", args.x);
  check_floating("dropout", "y", args.y);
  check_shape("dropout", "y", args.y, args.x.shape(), args.x.device());
  TILLER_CHECK(args.x.rank() >= 1, "dropout: x {} has no first dimension", to_string(args.x));
  TILLER_CHECK(args.p >= 0 && args.p <= 1, "dropout: p={} is not within [0, 1]", args.p);
  TILLER_CHECK(args.layer < kDropoutMaxLayers, "dropout: layer={} is not below {}", args.layer,
               kDropoutMaxLayers);
  TILLER_CHECK(args.x.numel() <= args.x.dim(0) * kDropoutMaxElements,
               "dropout: an entry of x {} has more than {} elements", to_string(args.x),
               kDropoutMaxElements);
}

Cost cost(const DropoutArgs& args) {
  return {static_cast<double>(args.x.numel()), bytes_of(args.x), bytes_of(args.y)};
}

std::string describe(const DropoutArgs& args) {
  return fmt::format("x {}, p={}, layer {}", to_string(args.x), args.p, args.layer);
}

const Op<DropoutArgs> dropout_fwd("dropout_fwd", rows);

}  // namespace tiller
