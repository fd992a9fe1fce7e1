#include "kernels/device_rows.h"
#include "kernels/dropout/dropout.h"
#include "kernels/dropout/kernels.h"

namespace tiller {

namespace {

bool supports(const DropoutArgs& args) { return not_f64(args.x, args.y); }
void run_dropout(const DropoutArgs& args, void*, Stream stream) {
  if (args.x.numel() == 0) return;
  const RandomKey& key = args.key;
  dropout_v1({view_of(args.x), view_of(args.y), args.x.dim(0), args.x.numel() / args.x.dim(0),
              args.p, args.p < 1 ? static_cast<float>(1 / (1 - args.p)) : 0, args.layer << 24,
              key.sample, key.step, static_cast<std::uint32_t>(key.stream),
              static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32)},
             stream);
}

}  // namespace

template <>
std::span<const Row<DropoutArgs>> rows_on<DropoutArgs, kDeviceType>() {
  static const Row<DropoutArgs> rows[] = {
      {"v1_quads", kDeviceType, Math::f32, RowKind::fast, supports, nullptr, run_dropout}};
  return rows;
}

}  // namespace tiller
