#include "kernels/device_rows.h"
#include "kernels/softmax/kernels.h"
#include "kernels/softmax/softmax.h"

namespace tiller {

namespace {

template <class Args>
bool supports(const Args& args) {
  return args.dtype() != DType::f64;
}

// labels, loss and dloss are [M]: dense, for a vector has one row.
const std::int64_t* labels_of(const Tensor& labels) { return labels.data<std::int64_t>(); }

void run_fwd(const SoftmaxFwdArgs& args, void*, Stream stream) {
  softmax_fwd_v1({view_of(args.x), view_of(args.y), args.log}, stream);
}
void run_bwd(const SoftmaxBwdArgs& args, void*, Stream stream) {
  softmax_bwd_v1({view_of(args.y), view_of(args.dy), view_of(args.dx), args.log}, stream);
}
void run_ce_fwd(const CrossEntropyFwdArgs& args, void*, Stream stream) {
  cross_entropy_fwd_v1({view_of(args.logits), labels_of(args.labels), args.loss.data<float>()},
                       stream);
}
void run_ce_bwd(const CrossEntropyBwdArgs& args, void*, Stream stream) {
  cross_entropy_bwd_v1({view_of(args.logits), view_of(args.dlogits), labels_of(args.labels),
                        args.dloss.data<float>()},
                       stream);
}

}  // namespace

template <>
std::span<const Row<SoftmaxFwdArgs>> rows_on<SoftmaxFwdArgs, kDeviceType>() {
  static const Row<SoftmaxFwdArgs> rows[] = {
      {"v1_warp", kDeviceType, Math::f32, RowKind::fast, supports, nullptr, run_fwd}};
  return rows;
}
template <>
std::span<const Row<SoftmaxBwdArgs>> rows_on<SoftmaxBwdArgs, kDeviceType>() {
  static const Row<SoftmaxBwdArgs> rows[] = {
      {"v1_warp", kDeviceType, Math::f32, RowKind::fast, supports, nullptr, run_bwd}};
  return rows;
}
template <>
std::span<const Row<CrossEntropyFwdArgs>> rows_on<CrossEntropyFwdArgs, kDeviceType>() {
  static const Row<CrossEntropyFwdArgs> rows[] = {
      {"v1_warp", kDeviceType, Math::f32, RowKind::fast, supports, nullptr, run_ce_fwd}};
  return rows;
}
template <>
std::span<const Row<CrossEntropyBwdArgs>> rows_on<CrossEntropyBwdArgs, kDeviceType>() {
  static const Row<CrossEntropyBwdArgs> rows[] = {
      {"v1_warp", kDeviceType, Math::f32, RowKind::fast, supports, nullptr, run_ce_bwd}};
  return rows;
}

}  // namespace tiller
