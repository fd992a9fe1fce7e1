#include "kernels/conv2d/rows.h"

#include "kernels/conv2d/indirect.h"
#include "kernels/conv2d/narrow.h"
#include "kernels/conv2d/peer.h"
#include "kernels/conv2d/reference.h"
#include "kernels/conv2d/sizes.h"
#include "kernels/conv2d/winograd.h"
#include "kernels/gemm/isa.h"
#include "kernels/row_table.h"
#include "kernels/rows_cuda.h"

namespace tiller {

namespace {

template <class Args>
bool always(const Args&) {
  return true;
}

void run_fwd(const Conv2dFwdArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { conv2d_fwd_reference<decltype(t)>(args); });
}
void run_dgrad(const Conv2dDgradArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { conv2d_dgrad_reference<decltype(t)>(args); });
}
void run_wgrad(const Conv2dWgradArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { conv2d_wgrad_reference<decltype(t)>(args); });
}

// The rows of the forward and of the input gradient, which are one kind of product.
template <class Args>
const RowTable<Args>& product_rows(void (*reference)(const Args&, void*, Stream),
                                   std::span<const Row<Args>> peers) {
  static const Row<Args> own[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, always, nullptr, reference},
      {"v1_indirect", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_indirect_supports<Avx2, Args>, conv2d_indirect_workspace<Avx2, Args>,
       conv2d_indirect_run<Avx2, Args>},
      {"v2_indirect_avx512", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_indirect_supports<Avx512, Args>, conv2d_indirect_workspace<Avx512, Args>,
       conv2d_indirect_run<Avx512, Args>},
      {"v3_winograd", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_winograd_supports<Avx2, WinogradForm::kept, Args>,
       conv2d_winograd_workspace<Avx2, WinogradForm::kept, Args>,
       conv2d_winograd_run<Avx2, WinogradForm::kept, Args>},
      {"v4_winograd_avx512", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_winograd_supports<Avx512, WinogradForm::kept, Args>,
       conv2d_winograd_workspace<Avx512, WinogradForm::kept, Args>,
       conv2d_winograd_run<Avx512, WinogradForm::kept, Args>},
      {"v5_winograd_fresh", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_winograd_supports<Avx2, WinogradForm::fresh, Args>,
       conv2d_winograd_workspace<Avx2, WinogradForm::fresh, Args>,
       conv2d_winograd_run<Avx2, WinogradForm::fresh, Args>},
      {"v6_winograd_fresh_avx512", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_winograd_supports<Avx512, WinogradForm::fresh, Args>,
       conv2d_winograd_workspace<Avx512, WinogradForm::fresh, Args>,
       conv2d_winograd_run<Avx512, WinogradForm::fresh, Args>},
      {"v7_winograd_phases", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_winograd_supports<Avx2, WinogradForm::phases, Args>,
       conv2d_winograd_workspace<Avx2, WinogradForm::phases, Args>,
       conv2d_winograd_run<Avx2, WinogradForm::phases, Args>},
      {"v8_winograd_phases_avx512", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_winograd_supports<Avx512, WinogradForm::phases, Args>,
       conv2d_winograd_workspace<Avx512, WinogradForm::phases, Args>,
       conv2d_winograd_run<Avx512, WinogradForm::phases, Args>},
      {"v9_narrow", DeviceType::cpu, Math::f32, RowKind::fast, conv2d_narrow_supports<Avx2, Args>,
       conv2d_narrow_workspace<Avx2, Args>, conv2d_narrow_run<Avx2, Args>},
      {"v10_narrow_avx512", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_narrow_supports<Avx512, Args>, conv2d_narrow_workspace<Avx512, Args>,
       conv2d_narrow_run<Avx512, Args>},
  };
  static const RowTable<Args> cpu(own, peers);
  return cpu;
}

}  // namespace

std::span<const Row<Conv2dFwdArgs>> conv2d_fwd_rows(DeviceType device) {
  if (device == DeviceType::cpu) return product_rows(run_fwd, conv2d_fwd_peers()).rows();
  return device_rows<Conv2dFwdArgs>(device);
}

std::span<const Row<Conv2dDgradArgs>> conv2d_dgrad_rows(DeviceType device) {
  if (device == DeviceType::cpu) return product_rows(run_dgrad, conv2d_dgrad_peers()).rows();
  return device_rows<Conv2dDgradArgs>(device);
}

std::span<const Row<Conv2dWgradArgs>> conv2d_wgrad_rows(DeviceType device) {
  static const Row<Conv2dWgradArgs> own[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, always, nullptr, run_wgrad},
      {"v1_indirect", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_indirect_supports<Avx2, Conv2dWgradArgs>,
       conv2d_indirect_workspace<Avx2, Conv2dWgradArgs>,
       conv2d_indirect_run<Avx2, Conv2dWgradArgs>},
      {"v2_indirect_avx512", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_indirect_supports<Avx512, Conv2dWgradArgs>,
       conv2d_indirect_workspace<Avx512, Conv2dWgradArgs>,
       conv2d_indirect_run<Avx512, Conv2dWgradArgs>},
      {"v3_winograd", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_winograd_wgrad_supports<Avx2, 3>, conv2d_winograd_wgrad_workspace<Avx2, 3>,
       conv2d_winograd_wgrad_run<Avx2, 3>},
      {"v4_winograd_avx512", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_winograd_wgrad_supports<Avx512, 3>, conv2d_winograd_wgrad_workspace<Avx512, 3>,
       conv2d_winograd_wgrad_run<Avx512, 3>},
      {"v7_winograd_phases", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_winograd_wgrad_supports<Avx2, 2>, conv2d_winograd_wgrad_workspace<Avx2, 2>,
       conv2d_winograd_wgrad_run<Avx2, 2>},
      {"v8_winograd_phases_avx512", DeviceType::cpu, Math::f32, RowKind::fast,
       conv2d_winograd_wgrad_supports<Avx512, 2>, conv2d_winograd_wgrad_workspace<Avx512, 2>,
       conv2d_winograd_wgrad_run<Avx512, 2>},
  };
  static const RowTable<Conv2dWgradArgs> cpu(own, conv2d_wgrad_peers());
  if (device == DeviceType::cpu) return cpu.rows();
  return device_rows<Conv2dWgradArgs>(device);
}

MmaSize mma_size(const Conv2dFwdArgs& args) {
  const ConvSizes z(args);
  return {z.n * z.p * z.q, z.k, z.r * z.s * z.c + z.c2 + z.c3, args.dtype()};
}
MmaSize mma_size(const Conv2dDgradArgs& args) {
  const ConvSizes z(args);
  if (z.geometry.up2x) return {z.n * z.h * z.w, z.c, (z.r + 1) * (z.s + 1) * z.k, args.dtype()};
  const auto residue = [stride = z.geometry.stride](std::int64_t size) {
    return (size + stride - 1) / stride;
  };
  return {z.n * residue(z.h) * residue(z.w), z.c, residue(z.r) * residue(z.s) * z.k, args.dtype()};
}

namespace {

bool frozen_weight(const Conv2dFwdArgs& args) { return args.w.storage()->frozen(); }
bool frozen_weight(const Conv2dDgradArgs& args) { return args.w.storage()->frozen(); }
bool frozen_weight(const Conv2dWgradArgs&) { return false; }

// A weight that changes keeps its transformed form until it does; a frozen one keeps nothing.
template <class Args>
const char* cpu_row(const Args& args) {
  const bool wide = Avx512::available();
  if constexpr (!std::is_same_v<Args, Conv2dWgradArgs>)
    if (conv2d_narrow_supports<Avx512>(args)) return "v10_narrow_avx512";
  if (winograd_phases_pay(args)) return wide ? "v8_winograd_phases_avx512" : "v7_winograd_phases";
  if (!winograd_pays(args)) return wide ? "v2_indirect_avx512" : "v1_indirect";
  if (frozen_weight(args)) return wide ? "v6_winograd_fresh_avx512" : "v5_winograd_fresh";
  return wide ? "v4_winograd_avx512" : "v3_winograd";
}

template <class Args>
const char* preferred(const Args& args, DeviceType device) {
  if (device == DeviceType::cpu) return cpu_row(args);
  return plan_mma(mma_size(args), op_detail::requested_math(args.dtype()));
}

}  // namespace

const char* conv2d_fwd_tuned(const Conv2dFwdArgs& args, DeviceType device) {
  return preferred(args, device);
}
const char* conv2d_dgrad_tuned(const Conv2dDgradArgs& args, DeviceType device) {
  return preferred(args, device);
}
const char* conv2d_wgrad_tuned(const Conv2dWgradArgs& args, DeviceType device) {
  return device == DeviceType::cpu ? cpu_row(args) : nullptr;
}

}  // namespace tiller
