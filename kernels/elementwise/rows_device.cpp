#include <algorithm>

#include "kernels/device_rows.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/kernels.h"

namespace tiller {

namespace {

std::int64_t per_sample(const Tensor& a) {
  return a.rank() > 0 && a.dim(0) > 0 ? a.numel() / a.dim(0) : 1;
}

// Equal dtypes are copied as bytes, so any will do.
bool unary_supports(const UnaryArgs& args) {
  return not_f64(args.x, args.y) ||
         (args.kind == UnaryKind::copy && args.x.dtype() == args.y.dtype());
}
void run_unary(const UnaryArgs& args, void*, Stream stream) {
  unary_v1({args.kind, view_of(args.x), view_of(args.y), static_cast<float>(args.a),
            static_cast<float>(args.b)},
           stream);
}

bool silu_bwd_supports(const SiluBwdArgs& args) { return not_f64(args.x, args.dy, args.dx); }
void run_silu_bwd(const SiluBwdArgs& args, void*, Stream stream) {
  silu_bwd_v1({view_of(args.x), view_of(args.dy), view_of(args.dx)}, stream);
}

bool binary_supports(const BinaryArgs& args) { return not_f64(args.a, args.b, args.y); }
void run_binary(const BinaryArgs& args, void*, Stream stream) {
  binary_v1({args.kind, args.broadcast, view_of(args.a), view_of(args.b), view_of(args.y),
             per_sample(args.a), static_cast<float>(args.alpha), static_cast<float>(args.beta)},
            stream);
}

bool where_supports(const WhereArgs& args) { return not_f64(args.mask, args.a, args.b, args.y); }
void run_where(const WhereArgs& args, void*, Stream stream) {
  const bool per_element = args.mask.shape() == args.a.shape();
  where_v1({view_of(args.mask), view_of(args.a), view_of(args.b), view_of(args.y),
            per_element ? 1 : per_sample(args.a)},
           stream);
}

}  // namespace

template <>
std::span<const Row<UnaryArgs>> rows_on<UnaryArgs, kDeviceType>() {
  static const Row<UnaryArgs> rows[] = {
      {"v1_flat", kDeviceType, Math::f32, RowKind::fast, unary_supports, nullptr, run_unary}};
  return rows;
}
template <>
std::span<const Row<SiluBwdArgs>> rows_on<SiluBwdArgs, kDeviceType>() {
  static const Row<SiluBwdArgs> rows[] = {
      {"v1_flat", kDeviceType, Math::f32, RowKind::fast, silu_bwd_supports, nullptr, run_silu_bwd}};
  return rows;
}
template <>
std::span<const Row<BinaryArgs>> rows_on<BinaryArgs, kDeviceType>() {
  static const Row<BinaryArgs> rows[] = {
      {"v1_flat", kDeviceType, Math::f32, RowKind::fast, binary_supports, nullptr, run_binary}};
  return rows;
}
template <>
std::span<const Row<WhereArgs>> rows_on<WhereArgs, kDeviceType>() {
  static const Row<WhereArgs> rows[] = {
      {"v1_flat", kDeviceType, Math::f32, RowKind::fast, where_supports, nullptr, run_where}};
  return rows;
}

}  // namespace tiller
