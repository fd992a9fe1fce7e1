#include "kernels/device_rows.h"
#include "kernels/reduce/kernels.h"
#include "kernels/reduce/view.h"

namespace tiller {

namespace {

bool reduce_supports(const ReduceArgs& args) {
  const ReduceView v = reduce_view(args.over, args.x.shape());
  return not_f64(args.x, args.y) && (v.inner == 1 || v.outer <= 65535) &&
         reduce_chunks(v.summed, v.inner) <= 65535;
}
std::size_t reduce_workspace(const ReduceArgs& args) {
  const ReduceView v = reduce_view(args.over, args.x.shape());
  return static_cast<std::size_t>(v.outer * v.inner * reduce_chunks(v.summed, v.inner)) *
         sizeof(float);
}
void run_reduce(const ReduceArgs& args, void* workspace, Stream stream) {
  const ReduceView v = reduce_view(args.over, args.x.shape());
  reduce_v1({args.kind, view_of(args.x), view_of(args.y), v.outer, v.summed, v.inner,
             static_cast<float*>(workspace)},
            stream);
}

bool broadcast_to_supports(const BroadcastToArgs& args) { return not_f64(args.x, args.y); }
void run_broadcast_to(const BroadcastToArgs& args, void*, Stream stream) {
  const ReduceView v = reduce_view(args.over, args.y.shape());
  broadcast_to_v1(
      {view_of(args.x), view_of(args.y), v.summed, v.inner, static_cast<float>(args.scale)},
      stream);
}

}  // namespace

template <>
std::span<const Row<ReduceArgs>> rows_on<ReduceArgs, kDeviceType>() {
  static const Row<ReduceArgs> rows[] = {{"v1_chunks", kDeviceType, Math::f32, RowKind::fast,
                                          reduce_supports, reduce_workspace, run_reduce}};
  return rows;
}
template <>
std::span<const Row<BroadcastToArgs>> rows_on<BroadcastToArgs, kDeviceType>() {
  static const Row<BroadcastToArgs> rows[] = {{"v1_flat", kDeviceType, Math::f32, RowKind::fast,
                                               broadcast_to_supports, nullptr, run_broadcast_to}};
  return rows;
}

}  // namespace tiller
