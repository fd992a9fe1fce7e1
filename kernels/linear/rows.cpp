#include "kernels/linear/rows.h"

#include "kernels/gemm/isa.h"
#include "kernels/linear/peer.h"
#include "kernels/linear/reference.h"
#include "kernels/linear/tiled.h"
#include "kernels/row_table.h"
#include "kernels/rows_cuda.h"

namespace tiller {

namespace {

template <class Args>
bool always(const Args&) {
  return true;
}

void run_fwd(const LinearFwdArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { linear_fwd_reference<decltype(t)>(args); });
}
void run_dgrad(const LinearDgradArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { linear_dgrad_reference<decltype(t)>(args); });
}
void run_wgrad(const LinearWgradArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { linear_wgrad_reference<decltype(t)>(args); });
}

}  // namespace

std::span<const Row<LinearFwdArgs>> linear_fwd_rows(DeviceType device) {
  static const Row<LinearFwdArgs> own[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, always, nullptr, run_fwd},
      {"v1_tiled", DeviceType::cpu, Math::f32, RowKind::fast,
       linear_tiled_supports<Avx2, LinearFwdArgs>, linear_tiled_workspace<Avx2, LinearFwdArgs>,
       linear_tiled_run<Avx2, LinearFwdArgs>},
      {"v2_tiled_avx512", DeviceType::cpu, Math::f32, RowKind::fast,
       linear_tiled_supports<Avx512, LinearFwdArgs>, linear_tiled_workspace<Avx512, LinearFwdArgs>,
       linear_tiled_run<Avx512, LinearFwdArgs>},
  };
  static const RowTable<LinearFwdArgs> cpu(own, linear_fwd_peers());
  if (device == DeviceType::cpu) return cpu.rows();
  return device_rows<LinearFwdArgs>(device);
}

std::span<const Row<LinearDgradArgs>> linear_dgrad_rows(DeviceType device) {
  static const Row<LinearDgradArgs> own[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, always, nullptr, run_dgrad},
      {"v1_tiled", DeviceType::cpu, Math::f32, RowKind::fast,
       linear_tiled_supports<Avx2, LinearDgradArgs>, linear_tiled_workspace<Avx2, LinearDgradArgs>,
       linear_tiled_run<Avx2, LinearDgradArgs>},
      {"v2_tiled_avx512", DeviceType::cpu, Math::f32, RowKind::fast,
       linear_tiled_supports<Avx512, LinearDgradArgs>,
       linear_tiled_workspace<Avx512, LinearDgradArgs>, linear_tiled_run<Avx512, LinearDgradArgs>},
  };
  static const RowTable<LinearDgradArgs> cpu(own, linear_dgrad_peers());
  if (device == DeviceType::cpu) return cpu.rows();
  return device_rows<LinearDgradArgs>(device);
}

std::span<const Row<LinearWgradArgs>> linear_wgrad_rows(DeviceType device) {
  static const Row<LinearWgradArgs> own[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, always, nullptr, run_wgrad},
      {"v1_tiled", DeviceType::cpu, Math::f32, RowKind::fast,
       linear_tiled_supports<Avx2, LinearWgradArgs>, linear_tiled_workspace<Avx2, LinearWgradArgs>,
       linear_tiled_run<Avx2, LinearWgradArgs>},
      {"v2_tiled_avx512", DeviceType::cpu, Math::f32, RowKind::fast,
       linear_tiled_supports<Avx512, LinearWgradArgs>,
       linear_tiled_workspace<Avx512, LinearWgradArgs>, linear_tiled_run<Avx512, LinearWgradArgs>},
  };
  static const RowTable<LinearWgradArgs> cpu(own, linear_wgrad_peers());
  if (device == DeviceType::cpu) return cpu.rows();
  return device_rows<LinearWgradArgs>(device);
}

MmaSize mma_size(const LinearFwdArgs& args) {
  return {args.y.rows(), args.y.cols(), args.x.cols(), args.dtype(), bool(args.norm)};
}
MmaSize mma_size(const LinearDgradArgs& args) {
  return {args.dx.rows(), args.dx.cols(), args.dy.cols(), args.dtype()};
}

namespace {

template <class Args>
const char* preferred(const Args& args, DeviceType device) {
  if (device == DeviceType::cpu) return nullptr;
  return plan_mma(mma_size(args), op_detail::requested_math(args.dtype()));
}

}  // namespace

const char* linear_fwd_tuned(const LinearFwdArgs& args, DeviceType device) {
  return preferred(args, device);
}
const char* linear_dgrad_tuned(const LinearDgradArgs& args, DeviceType device) {
  return preferred(args, device);
}

}  // namespace tiller
