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
// Bytes are copied in words of 16, which need not be floats.
bool copies_words(const UnaryArgs& args) {
  const Tensor &x = args.x, &y = args.y;
  const std::size_t size = size_of(x.dtype());
  if (x.dense() && y.dense())
    return starts_aligned(x) && starts_aligned(y) &&
           static_cast<std::size_t>(x.numel()) * size % 16 == 0;
  return x.aligned(16) && y.aligned(16) && static_cast<std::size_t>(x.cols()) * size % 16 == 0;
}
bool unary_vectors(const UnaryArgs& args) {
  if (args.kind == UnaryKind::copy && args.x.dtype() == args.y.dtype()) return copies_words(args);
  return all_in_eights(args.x, args.y);
}
template <void (*kLaunch)(const UnaryParams&, Stream)>
void run_unary(const UnaryArgs& args, void*, Stream stream) {
  kLaunch({args.kind, view_of(args.x), view_of(args.y), static_cast<float>(args.a),
           static_cast<float>(args.b)},
          stream);
}

bool silu_bwd_supports(const SiluBwdArgs& args) { return not_f64(args.x, args.dy, args.dx); }
bool silu_bwd_vectors(const SiluBwdArgs& args) { return all_in_eights(args.x, args.dy, args.dx); }
template <void (*kLaunch)(const SiluBwdParams&, Stream)>
void run_silu_bwd(const SiluBwdArgs& args, void*, Stream stream) {
  kLaunch({view_of(args.x), view_of(args.dy), view_of(args.dx)}, stream);
}

bool binary_supports(const BinaryArgs& args) { return not_f64(args.a, args.b, args.y); }
// Eight elements meet one element of b, or eight of it.
bool binary_vectors(const BinaryArgs& args) {
  if (!all_in_eights(args.a, args.y)) return false;
  switch (args.broadcast) {
    case Broadcast::none:
      return in_eights(args.b);
    case Broadcast::per_sample:
      return not_f64(args.b) && per_sample(args.a) % 8 == 0;
    default:
      return in_eights(args.b) && args.a.cols() % 8 == 0;
  }
}
template <void (*kLaunch)(const BinaryParams&, Stream)>
void run_binary(const BinaryArgs& args, void*, Stream stream) {
  kLaunch({args.kind, args.broadcast, view_of(args.a), view_of(args.b), view_of(args.y),
           per_sample(args.a), static_cast<float>(args.alpha), static_cast<float>(args.beta)},
          stream);
}

bool where_supports(const WhereArgs& args) { return not_f64(args.mask, args.a, args.b, args.y); }
bool where_vectors(const WhereArgs& args) {
  const bool per_element = args.mask.shape() == args.a.shape();
  return not_f64(args.mask) && all_in_eights(args.a, args.b, args.y) &&
         (per_element || per_sample(args.a) % 8 == 0);
}
template <void (*kLaunch)(const WhereParams&, Stream)>
void run_where(const WhereArgs& args, void*, Stream stream) {
  const bool per_element = args.mask.shape() == args.a.shape();
  kLaunch({view_of(args.mask), view_of(args.a), view_of(args.b), view_of(args.y),
           per_element ? 1 : per_sample(args.a)},
          stream);
}

}  // namespace

template <>
std::span<const Row<UnaryArgs>> rows_on<UnaryArgs, kDeviceType>() {
  static const Row<UnaryArgs> rows[] = {{"v1_flat", kDeviceType, Math::f32, RowKind::fast,
                                         unary_supports, nullptr, run_unary<unary_v1>},
                                        {"v2_vectors", kDeviceType, Math::f32, RowKind::fast,
                                         unary_vectors, nullptr, run_unary<unary_v2>}};
  return rows;
}
template <>
std::span<const Row<SiluBwdArgs>> rows_on<SiluBwdArgs, kDeviceType>() {
  static const Row<SiluBwdArgs> rows[] = {{"v1_flat", kDeviceType, Math::f32, RowKind::fast,
                                           silu_bwd_supports, nullptr, run_silu_bwd<silu_bwd_v1>},
                                          {"v2_vectors", kDeviceType, Math::f32, RowKind::fast,
                                           silu_bwd_vectors, nullptr, run_silu_bwd<silu_bwd_v2>}};
  return rows;
}
template <>
std::span<const Row<BinaryArgs>> rows_on<BinaryArgs, kDeviceType>() {
  static const Row<BinaryArgs> rows[] = {{"v1_flat", kDeviceType, Math::f32, RowKind::fast,
                                          binary_supports, nullptr, run_binary<binary_v1>},
                                         {"v2_vectors", kDeviceType, Math::f32, RowKind::fast,
                                          binary_vectors, nullptr, run_binary<binary_v2>}};
  return rows;
}
template <>
std::span<const Row<WhereArgs>> rows_on<WhereArgs, kDeviceType>() {
  static const Row<WhereArgs> rows[] = {{"v1_flat", kDeviceType, Math::f32, RowKind::fast,
                                         where_supports, nullptr, run_where<where_v1>},
                                        {"v2_vectors", kDeviceType, Math::f32, RowKind::fast,
                                         where_vectors, nullptr, run_where<where_v2>}};
  return rows;
}

}  // namespace tiller
