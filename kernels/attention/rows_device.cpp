#include <cmath>

#include "kernels/attention/attention.h"
#include "kernels/attention/kernels.h"
#include "kernels/device_rows.h"

namespace tiller {

namespace {

template <class Args>
AttentionShape shape_of(const Args& args) {
  const std::int64_t tokens = args.qkv.dim(1), head_size = args.qkv.dim(2) / 3 / args.heads;
  const QkvStrides strides = qkv_strides(args.order, args.heads, head_size);
  const auto narrow = [](std::int64_t size) { return static_cast<int>(size); };
  return {narrow(args.qkv.dim(0)),
          narrow(tokens),
          args.one_query ? 1 : narrow(tokens),
          narrow(args.heads),
          narrow(head_size),
          narrow(strides.part),
          narrow(strides.head),
          static_cast<float>(1 / std::sqrt(static_cast<double>(head_size)))};
}

template <class Args>
bool supports(const Args& args) {
  const AttentionShape z = shape_of(args);
  return args.dtype() != DType::f64 && z.tokens <= kMaxTokens && z.head_size <= kMaxHeadSize &&
         args.qkv.rows() * args.heads < (std::int64_t{1} << 31) && (!args.lse || args.lse.dense());
}

bool half(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; }

template <class Args>
bool mma_supports(const Args& args, int head_size) {
  return half(args.dtype()) && supports(args) && !args.one_query &&
         args.qkv.dim(2) / 3 / args.heads == head_size && args.qkv.aligned(16) &&
         args.o.aligned(16);
}
template <int kSize>
bool fwd_mma_supports(const AttentionFwdArgs& args) {
  return mma_supports(args, kSize);
}
template <int kSize>
bool bwd_mma_supports(const AttentionBwdArgs& args) {
  return mma_supports(args, kSize) && args.d_o.aligned(16) && args.dqkv.aligned(16);
}

template <void (*kLaunch)(const AttentionFwdParams&, Stream)>
void run_fwd(const AttentionFwdArgs& args, void*, Stream stream) {
  kLaunch({shape_of(args), view_of(args.qkv), view_of(args.o),
           args.lse ? args.lse.data<float>() : nullptr},
          stream);
}

std::size_t bwd_workspace(const AttentionBwdArgs& args) {
  return static_cast<std::size_t>(args.lse.numel()) * sizeof(float);
}
template <void (*kLaunch)(const AttentionBwdParams&, Stream)>
void run_bwd(const AttentionBwdArgs& args, void* workspace, Stream stream) {
  kLaunch({shape_of(args), view_of(args.qkv), view_of(args.o), view_of(args.d_o),
           view_of(args.dqkv), args.lse.data<float>(), static_cast<float*>(workspace)},
          stream);
}

}  // namespace

template <>
std::span<const Row<AttentionFwdArgs>> rows_on<AttentionFwdArgs, kDeviceType>() {
  static const Row<AttentionFwdArgs> rows[] = {
      {"v1_plain", kDeviceType, Math::f32, RowKind::fast, supports, nullptr,
       run_fwd<attention_fwd_v1>},
      {"v2_mma@64", kDeviceType, Math::half, RowKind::fast, fwd_mma_supports<64>, nullptr,
       run_fwd<attention_fwd_v2<64>>},
      {"v2_mma@96", kDeviceType, Math::half, RowKind::fast, fwd_mma_supports<96>, nullptr,
       run_fwd<attention_fwd_v2<96>>},
      {"v2_mma@128", kDeviceType, Math::half, RowKind::fast, fwd_mma_supports<128>, nullptr,
       run_fwd<attention_fwd_v2<128>>},
      {"v2_mma@192", kDeviceType, Math::half, RowKind::fast, fwd_mma_supports<192>, nullptr,
       run_fwd<attention_fwd_v2<192>>},
      {"v2_mma@256", kDeviceType, Math::half, RowKind::fast, fwd_mma_supports<256>, nullptr,
       run_fwd<attention_fwd_v2<256>>},
  };
  return rows;
}
template <>
std::span<const Row<AttentionBwdArgs>> rows_on<AttentionBwdArgs, kDeviceType>() {
  static const Row<AttentionBwdArgs> rows[] = {
      {"v1_plain", kDeviceType, Math::f32, RowKind::fast, supports, bwd_workspace,
       run_bwd<attention_bwd_v1>},
      {"v2_mma@64", kDeviceType, Math::half, RowKind::fast, bwd_mma_supports<64>, bwd_workspace,
       run_bwd<attention_bwd_v2<64>>},
      {"v2_mma@96", kDeviceType, Math::half, RowKind::fast, bwd_mma_supports<96>, bwd_workspace,
       run_bwd<attention_bwd_v2<96>>},
      {"v2_mma@128", kDeviceType, Math::half, RowKind::fast, bwd_mma_supports<128>, bwd_workspace,
       run_bwd<attention_bwd_v2<128>>},
      {"v2_mma@192", kDeviceType, Math::half, RowKind::fast, bwd_mma_supports<192>, bwd_workspace,
       run_bwd<attention_bwd_v2<192>>},
      {"v2_mma@256", kDeviceType, Math::half, RowKind::fast, bwd_mma_supports<256>, bwd_workspace,
       run_bwd<attention_bwd_v2<256>>},
  };
  return rows;
}

}  // namespace tiller
