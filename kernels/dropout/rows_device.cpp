#include "kernels/device_rows.h"
#include "kernels/dropout/dropout.h"
#include "kernels/dropout/kernels.h"

namespace tiller {

namespace {

bool supports(const DropoutArgs& args) { return not_f64(args.x, args.y); }
bool vectors(const DropoutArgs& args) {
  const std::int64_t entries = args.x.dim(0);
  return all_in_eights(args.x, args.y) && entries > 0 && args.x.numel() / entries % 8 == 0;
}
template <void (*kLaunch)(const DropoutParams&, Stream)>
void run_dropout(const DropoutArgs& args, void*, Stream stream) {
  if (args.x.numel() == 0) return;
  const RandomKey& key = args.key;
  kLaunch({view_of(args.x), view_of(args.y), args.x.dim(0), args.x.numel() / args.x.dim(0), args.p,
           args.p < 1 ? static_cast<float>(1 / (1 - args.p)) : 0, args.layer << 24, key.sample,
           key.step, static_cast<std::uint32_t>(key.stream), static_cast<std::uint32_t>(key.seed),
           static_cast<std::uint32_t>(key.seed >> 32)},
          stream);
}

}  // namespace

template <>
std::span<const Row<DropoutArgs>> rows_on<DropoutArgs, kDeviceType>() {
  static const Row<DropoutArgs> rows[] = {{"v1_quads", kDeviceType, Math::f32, RowKind::fast,
                                           supports, nullptr, run_dropout<dropout_v1>},
                                          {"v2_vectors", kDeviceType, Math::f32, RowKind::fast,
                                           vectors, nullptr, run_dropout<dropout_v2>}};
  return rows;
}

}  // namespace tiller
