#include <algorithm>
#include <cmath>

#include "kernels/device_rows.h"
#include "kernels/optimizer/kernels.h"
#include "kernels/optimizer/optimizer.h"

namespace tiller {

namespace {

void bump_versions(const std::vector<Tensor>& list) {
  for (const Tensor& t : list) t.bump_version();
}

bool dense(const std::vector<Tensor>& list) {
  return std::all_of(list.begin(), list.end(), [](const Tensor& t) { return t.dense(); });
}

// Calls body(list, first) for runs of at most kListTensors tensors that have elements; the list
// holds the operands of the run that starts at tensor `first` of the lists. `fill(i, slot)` may
// note more.
template <int kOperands, class Fill, class Body>
void for_each_list(const std::vector<const std::vector<Tensor>*>& lists, const Fill& fill,
                   const Body& body) {
  TensorList<kOperands> list{};
  const auto flush = [&] {
    if (list.tensors > 0) body(list);
    list.tensors = 0;
  };
  for (std::size_t i = 0; i < lists[0]->size(); ++i) {
    if ((*lists[0])[i].numel() == 0) continue;
    if (list.tensors == kListTensors) flush();
    const int slot = list.tensors++;
    for (int operand = 0; operand < kOperands; ++operand)
      list.data[operand][slot] = (*lists[static_cast<std::size_t>(operand)])[i].raw();
    list.count[slot] = (*lists[0])[i].numel();
    const auto blocks = static_cast<std::uint32_t>((list.count[slot] + kPiece - 1) / kPiece);
    list.first_block[slot + 1] = list.first_block[slot] + blocks;
    fill(i, slot);
  }
  flush();
}

constexpr auto kNothing = [](std::size_t, int) {};

bool adamw_supports(const AdamWArgs& args) {
  return args.dtype() == DType::f32 && dense(args.p) && dense(args.grad) && dense(args.m) &&
         dense(args.v);
}
void run_adamw(const AdamWArgs& args, void*, Stream stream) {
  const auto step = static_cast<double>(args.step);
  for_each_list<4>({&args.p, &args.grad, &args.m, &args.v}, kNothing, [&](const auto& list) {
    AdamWParams p{};
    p.list = list;
    p.grad_scale = static_cast<float>(args.grad_scale);
    p.decay = static_cast<float>(1 - args.lr * args.weight_decay);
    p.beta1 = static_cast<float>(args.beta1);
    p.one_minus_beta1 = static_cast<float>(1 - args.beta1);
    p.beta2 = static_cast<float>(args.beta2);
    p.one_minus_beta2 = static_cast<float>(1 - args.beta2);
    p.root_correction2 = static_cast<float>(std::sqrt(1 - std::pow(args.beta2, step)));
    p.eps = static_cast<float>(args.eps);
    p.step_size = static_cast<float>(args.lr / (1 - std::pow(args.beta1, step)));
    adamw_v1(p, stream);
  });
  bump_versions(args.p);
}

bool ema_supports(const EmaArgs& args) {
  return args.dtype() == DType::f32 && dense(args.ema) && dense(args.p);
}
void run_ema(const EmaArgs& args, void*, Stream stream) {
  for_each_list<2>({&args.ema, &args.p}, kNothing, [&](const auto& list) {
    ema_v1({list, static_cast<float>(args.rate), static_cast<float>(1 - args.rate)}, stream);
  });
  bump_versions(args.ema);
}

bool scale_all_supports(const ScaleAllArgs& args) {
  return args.dtype() != DType::f64 && dense(args.x);
}
void run_scale_all(const ScaleAllArgs& args, void*, Stream stream) {
  for_each_list<1>({&args.x}, kNothing, [&](const auto& list) {
    scale_all_v1({list, args.dtype(), static_cast<float>(args.scale)}, stream);
  });
  bump_versions(args.x);
}

std::int64_t pieces_of(const std::vector<Tensor>& list) {
  std::int64_t pieces = 0;
  for (const Tensor& t : list) pieces += (t.numel() + kPiece - 1) / kPiece;
  return pieces;
}

bool norm_supports(const NormArgs& args) {
  return dense(args.x) && std::all_of(args.x.begin(), args.x.end(),
                                      [](const Tensor& t) { return t.dtype() != DType::f64; });
}
std::size_t norm_workspace(const NormArgs& args) {
  return static_cast<std::size_t>(pieces_of(args.x)) * (sizeof(double) + sizeof(int));
}
void run_norm(const NormArgs& args, void* workspace, Stream stream) {
  const std::int64_t pieces = pieces_of(args.x);
  NormParams p{};
  p.scale = args.scale;
  p.sums = static_cast<double*>(workspace);
  p.flags = reinterpret_cast<int*>(p.sums + pieces);
  for_each_list<1>(
      {&args.x}, [&](std::size_t i, int slot) { p.dtypes[slot] = args.x[i].dtype(); },
      [&](const auto& list) {
        p.list = list;
        norm_sums_v1(p, stream);
        p.first_sum += list.first_block[list.tensors];
      });
  norm_join_v1({p.sums, p.flags, pieces, args.out.data<double>()}, stream);
}

}  // namespace

template <>
std::span<const Row<AdamWArgs>> rows_on<AdamWArgs, kDeviceType>() {
  static const Row<AdamWArgs> rows[] = {
      {"v1_lists", kDeviceType, Math::f32, RowKind::fast, adamw_supports, nullptr, run_adamw}};
  return rows;
}
template <>
std::span<const Row<EmaArgs>> rows_on<EmaArgs, kDeviceType>() {
  static const Row<EmaArgs> rows[] = {
      {"v1_lists", kDeviceType, Math::f32, RowKind::fast, ema_supports, nullptr, run_ema}};
  return rows;
}
template <>
std::span<const Row<NormArgs>> rows_on<NormArgs, kDeviceType>() {
  static const Row<NormArgs> rows[] = {
      {"v1_lists", kDeviceType, Math::f32, RowKind::fast, norm_supports, norm_workspace, run_norm}};
  return rows;
}
template <>
std::span<const Row<ScaleAllArgs>> rows_on<ScaleAllArgs, kDeviceType>() {
  static const Row<ScaleAllArgs> rows[] = {{"v1_lists", kDeviceType, Math::f32, RowKind::fast,
                                            scale_all_supports, nullptr, run_scale_all}};
  return rows;
}

}  // namespace tiller
