#include "kernels/attention/attention.h"

#include "kernels/attention/flash_rows.h"
#include "kernels/attention/reference.h"
#include "kernels/cost.h"
#include "kernels/rows_cuda.h"

namespace tiller {

namespace {

void check_tensor(const char* op, const char* what, const Tensor& t, const Shape& shape,
                  DType dtype, const Tensor& qkv) {
  TILLER_CHECK(
      t.defined() && t.shape() == shape && t.dtype() == dtype && t.device() == qkv.device(),
      "{}: {} is {}, not {}{} as qkv {} asks", op, what, to_string(t), name(dtype),
      to_string(shape), to_string(qkv));
}

void check_qkv(const char* op, const Tensor& qkv, std::int64_t heads) {
  TILLER_CHECK(qkv.defined() && qkv.rank() == 3 && is_floating(qkv.dtype()),
               "{}: qkv {} is not a floating [N,T,3C]", op, to_string(qkv));
  TILLER_CHECK(qkv.dim(1) >= 1, "{}: qkv {} has no token", op, to_string(qkv));
  TILLER_CHECK(heads >= 1 && qkv.dim(2) >= 1 && qkv.dim(2) % (3 * heads) == 0,
               "{}: 3C={} is not divisible by 3 * heads={}, qkv {}", op, qkv.dim(2), heads,
               to_string(qkv));
}

template <class Args>
struct Sizes {
  explicit Sizes(const Args& args)
      : samples(args.qkv.dim(0)),
        heads(args.heads),
        tokens(args.qkv.dim(1)),
        queries(args.one_query ? 1 : tokens),
        channels(args.qkv.dim(2) / 3) {}
  std::int64_t samples, heads, tokens, queries, channels;
  Shape o() const { return {samples, queries, channels}; }
  Shape lse() const { return {samples, heads, queries}; }
};

// q of the tokens that ask, k and v of all.
template <class Args>
double qkv_bytes(const Args& args) {
  const Sizes s(args);
  return static_cast<double>(s.samples * s.channels * (s.queries + 2 * s.tokens)) *
         static_cast<double>(size_of(args.qkv.dtype()));
}

template <class Args>
std::string describe_any(const Args& args) {
  return fmt::format("qkv {}, heads={}, order={}{}", to_string(args.qkv), args.heads,
                     name(args.order), args.one_query ? ", one query" : "");
}

template <class Args>
bool always(const Args&) {
  return true;
}

void run_fwd(const AttentionFwdArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { attention_fwd_reference<decltype(t)>(args); });
}
void run_bwd(const AttentionBwdArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { attention_bwd_reference<decltype(t)>(args); });
}

std::span<const Row<AttentionFwdArgs>> fwd_rows(DeviceType device) {
  static const Row<AttentionFwdArgs> cpu[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, always, nullptr, run_fwd},
      {"v1_flash", DeviceType::cpu, Math::f32, RowKind::fast, flash_supported, flash_workspace,
       flash_fwd},
      {"v2_flash_avx512", DeviceType::cpu, Math::f32, RowKind::fast, flash_avx512_supported,
       flash_workspace, flash_fwd_avx512},
  };
  if (device == DeviceType::cpu) return cpu;
  return device_rows<AttentionFwdArgs>(device);
}

std::span<const Row<AttentionBwdArgs>> bwd_rows(DeviceType device) {
  static const Row<AttentionBwdArgs> cpu[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, always, nullptr, run_bwd},
      {"v1_flash", DeviceType::cpu, Math::f32, RowKind::fast, flash_supported, flash_workspace,
       flash_bwd},
      {"v2_flash_avx512", DeviceType::cpu, Math::f32, RowKind::fast, flash_avx512_supported,
       flash_workspace, flash_bwd_avx512},
  };
  if (device == DeviceType::cpu) return cpu;
  return device_rows<AttentionBwdArgs>(device);
}

}  // namespace

const char* name(QkvOrder order) { return order == QkvOrder::legacy ? "legacy" : "split"; }

QkvStrides qkv_strides(QkvOrder order, std::int64_t heads, std::int64_t head_size) {
  if (order == QkvOrder::legacy) return {head_size, 3 * head_size};
  return {heads * head_size, head_size};
}

void check(const AttentionFwdArgs& args) {
  const char* op = "attention";
  check_qkv(op, args.qkv, args.heads);
  const Sizes sizes(args);
  check_tensor(op, "o", args.o, sizes.o(), args.qkv.dtype(), args.qkv);
  if (args.lse)
    check_tensor(op, "lse", args.lse, sizes.lse(), accumulate_dtype(args.qkv.dtype()), args.qkv);
}

void check(const AttentionBwdArgs& args) {
  const char* op = "attention_bwd";
  check_qkv(op, args.qkv, args.heads);
  const Sizes sizes(args);
  check_tensor(op, "o", args.o, sizes.o(), args.qkv.dtype(), args.qkv);
  check_tensor(op, "d_o", args.d_o, sizes.o(), args.qkv.dtype(), args.qkv);
  check_tensor(op, "lse", args.lse, sizes.lse(), accumulate_dtype(args.qkv.dtype()), args.qkv);
  check_tensor(op, "dqkv", args.dqkv, args.qkv.shape(), args.qkv.dtype(), args.qkv);
}

Cost cost(const AttentionFwdArgs& args) {
  const Sizes s(args);
  const double rows = static_cast<double>(s.samples * s.heads * s.queries);
  const std::int64_t width = s.channels / s.heads;
  const auto head_size = static_cast<double>(width);
  // Per query and key: q.k, the scale, - max, exp, sum, p v. Per query: / sum, log sum + max.
  const double per_pair = 4 * head_size + 4;
  const double per_row = head_size + (args.lse ? 2 : 0);
  return {rows * (static_cast<double>(s.tokens) * per_pair + per_row), qkv_bytes(args),
          bytes(args.o) + bytes(args.lse)};
}

Cost cost(const AttentionBwdArgs& args) {
  const Sizes s(args);
  const double rows = static_cast<double>(s.samples * s.heads * s.queries);
  const std::int64_t width = s.channels / s.heads;
  const auto head_size = static_cast<double>(width);
  // Per query and key: five products of D terms (q.k, do.v, and into dq, dk, dv); the scale, - lse,
  // exp, - delta, * p, * scale. Per query: delta = do.o.
  const double per_pair = 10 * head_size + 6;
  return {rows * (static_cast<double>(s.tokens) * per_pair + 2 * head_size),
          qkv_bytes(args) + bytes(args.o) + bytes(args.d_o) + bytes(args.lse), bytes(args.dqkv)};
}

std::string describe(const AttentionFwdArgs& args) { return describe_any(args); }
std::string describe(const AttentionBwdArgs& args) { return describe_any(args); }

const Op<AttentionFwdArgs> attention_fwd("attention_fwd", fwd_rows);
const Op<AttentionBwdArgs> attention_bwd("attention_bwd", bwd_rows);

}  // namespace tiller
