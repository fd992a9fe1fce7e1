#include "kernels/embedding/embedding.h"

#include <algorithm>

#include "kernels/check.h"
#include "kernels/embedding/fast.h"
#include "kernels/embedding/reference.h"
#include "kernels/rows_cuda.h"

namespace tiller {

namespace {

// A row runs in f64 when the table, or what stands in its place, is f64.
void run_fwd(const EmbeddingFwdArgs& args, void*, Stream) {
  args.table.dtype() == DType::f64 ? embedding_fwd_reference<double>(args)
                                   : embedding_fwd_reference<float>(args);
}
void run_bwd(const EmbeddingBwdArgs& args, void*, Stream) {
  args.dtable.dtype() == DType::f64 ? embedding_bwd_reference<double>(args)
                                    : embedding_bwd_reference<float>(args);
}
void run_timestep(const TimestepEmbeddingArgs& args, void*, Stream) {
  args.t.dtype() == DType::f64 ? timestep_embedding_reference<double>(args)
                               : timestep_embedding_reference<float>(args);
}

template <class Args, void (*reference)(const Args&, void*, Stream), bool (*supports)(const Args&),
          void (*fast)(const Args&, void*, Stream)>
std::span<const Row<Args>> rows(DeviceType device) {
  static const Row<Args> cpu[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, any_arguments<Args>, nullptr,
       reference},
      {"v1_rows", DeviceType::cpu, Math::f32, RowKind::fast, supports, nullptr, fast},
  };
  if (device == DeviceType::cpu) return cpu;
  return device_rows<Args>(device);
}

void check_index(const char* op, const Tensor& index, std::int64_t n, Device device) {
  check_shape(op, "index", index, {n}, device);
  TILLER_CHECK(index.dtype() == DType::i64, "{}: index {} is not i64", op, to_string(index));
}

// A [rows,C] tensor; `wide` is f32 or f64, which its elements must have.
void check_matrix(const char* op, const char* what, const Tensor& t) {
  check_floating(op, what, t);
  TILLER_CHECK(t.rank() == 2, "{}: {} {} is not a matrix", op, what, to_string(t));
}

void check_wide(const char* op, const char* what, const Tensor& t, const Tensor& beside) {
  TILLER_CHECK(t.dtype() == accumulate_dtype(beside.dtype()), "{}: {} {} is not {} beside {}", op,
               what, to_string(t), name(accumulate_dtype(beside.dtype())), to_string(beside));
}

}  // namespace

void check(const EmbeddingFwdArgs& args) {
  const char* op = "embedding";
  check_matrix(op, "table", args.table);
  check_matrix(op, "y", args.y);
  check_wide(op, "table", args.table, args.y);
  check_shape(op, "y", args.y, {args.y.dim(0), args.table.dim(1)}, args.table.device());
  check_index(op, args.index, args.y.dim(0), args.y.device());
  if (!args.addend) return;
  check_floating(op, "addend", args.addend);
  check_wide(op, "table", args.table, args.addend);
  check_shape(op, "addend", args.addend, args.y.shape(), args.y.device());
}

void check(const EmbeddingBwdArgs& args) {
  const char* op = "embedding_bwd";
  check_matrix(op, "dtable", args.dtable);
  check_matrix(op, "dy", args.dy);
  check_wide(op, "dtable", args.dtable, args.dy);
  check_shape(op, "dy", args.dy, {args.dy.dim(0), args.dtable.dim(1)}, args.dtable.device());
  check_index(op, args.index, args.dy.dim(0), args.dy.device());
}

void check(const TimestepEmbeddingArgs& args) {
  const char* op = "timestep_embedding";
  check_matrix(op, "y", args.y);
  check_shape(op, "t", args.t, {args.y.dim(0)}, args.y.device());
  check_wide(op, "t", args.t, args.y);
  TILLER_CHECK(args.max_period > 0, "{}: max_period={} is not positive", op, args.max_period);
}

Cost cost(const EmbeddingFwdArgs& args) {
  // As if no two indices were equal.
  const auto rows_read = static_cast<double>(std::min(args.table.dim(0), args.y.dim(0)));
  const double table = rows_read * static_cast<double>(args.y.dim(1)) *
                       static_cast<double>(size_of(args.table.dtype()));
  return {args.addend ? static_cast<double>(args.y.numel()) : 0,
          table + bytes_of(args.index) + bytes_of(args.addend), bytes_of(args.y)};
}

Cost cost(const EmbeddingBwdArgs& args) {
  return {static_cast<double>(args.dy.numel()), bytes_of(args.index) + bytes_of(args.dy),
          bytes_of(args.dtable)};
}

Cost cost(const TimestepEmbeddingArgs& args) {
  // A frequency: product, quotient, exp. An element pair: product, cos, sin.
  const std::int64_t pairs = args.y.dim(1) / 2;
  const auto half = static_cast<double>(pairs);
  return {3 * half + 3 * half * static_cast<double>(args.y.dim(0)), bytes_of(args.t),
          bytes_of(args.y)};
}

std::string describe(const EmbeddingFwdArgs& args) {
  return fmt::format("table {}, y {}", to_string(args.table), to_string(args.y));
}
std::string describe(const EmbeddingBwdArgs& args) {
  return fmt::format("dtable {}, dy {}", to_string(args.dtable), to_string(args.dy));
}
std::string describe(const TimestepEmbeddingArgs& args) {
  return fmt::format("y {}", to_string(args.y));
}

const Op<EmbeddingFwdArgs> embedding_fwd(
    "embedding_fwd",
    rows<EmbeddingFwdArgs, run_fwd, embedding_fwd_fast_supports, embedding_fwd_fast>);
const Op<EmbeddingBwdArgs> embedding_bwd(
    "embedding_bwd",
    rows<EmbeddingBwdArgs, run_bwd, embedding_bwd_fast_supports, embedding_bwd_fast>);
const Op<TimestepEmbeddingArgs> timestep_embedding_fwd(
    "timestep_embedding_fwd", rows<TimestepEmbeddingArgs, run_timestep,
                                   timestep_embedding_fast_supports, timestep_embedding_fast>);

}  // namespace tiller
