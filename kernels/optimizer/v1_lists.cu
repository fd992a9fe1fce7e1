// AdamW, EMA, scaling and the norm over all parameters, v1_lists.
//
// math      kernels/optimizer/optimizer.h; the norm's squares are summed in f64
// shapes    lists of dense tensors
// mapping   each tensor is cut into pieces of 4096 elements, a block each; a block finds its tensor
//           by bisection in the list that came with the parameters. The norm writes a sum per
//           block, and one block adds those in order
// traffic   AdamW reads 16 and writes 12 bytes a parameter, EMA 8 and 4, scaling and norm 4
// roofline  memory (the norm's f64 sums: one per element, 1/64 rate on small GPUs: bound by them)
// delta     the first row
// limits    dense tensors, f32 (the norm and the scaling: f16 and bf16, too); 400 tensors a launch
#include "kernels/optimizer/kernels.h"
#include "kernels/view.cuh"
#include "kernels/warp.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

// The piece of a block.
struct Piece {
  int tensor;
  std::int64_t begin, end;
};

template <int kOperands>
__device__ __forceinline__ Piece own_piece(const TensorList<kOperands>& list) {
  int low = 0, high = list.tensors;  // the last tensor whose first block is not behind this one
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (list.first_block[middle] <= blockIdx.x)
      low = middle;
    else
      high = middle;
  }
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x - list.first_block[low]) * kPiece;
  const std::int64_t end = begin + kPiece;
  return {low, begin, end < list.count[low] ? end : list.count[low]};
}

template <int kOperands>
unsigned blocks_of(const TensorList<kOperands>& list) {
  return list.first_block[list.tensors];
}

__global__ void __launch_bounds__(kThreads, 2) adamw_kernel(const AdamWParams __grid_constant__ a) {
  const Piece piece = own_piece(a.list);
  auto* p = static_cast<float*>(a.list.data[0][piece.tensor]);
  const auto* grad = static_cast<const float*>(a.list.data[1][piece.tensor]);
  auto* m = static_cast<float*>(a.list.data[2][piece.tensor]);
  auto* v = static_cast<float*>(a.list.data[3][piece.tensor]);
  for (std::int64_t i = piece.begin + threadIdx.x; i < piece.end; i += kThreads) {
    const float g = a.grad_scale * grad[i];
    const float mean = a.beta1 * m[i] + a.one_minus_beta1 * g;
    const float square = a.beta2 * v[i] + a.one_minus_beta2 * (g * g);
    m[i] = mean;
    v[i] = square;
    p[i] = a.decay * p[i] - a.step_size * (mean / (sqrtf(square) / a.root_correction2 + a.eps));
  }
}

__global__ void __launch_bounds__(kThreads, 2) ema_kernel(const EmaParams __grid_constant__ a) {
  const Piece piece = own_piece(a.list);
  auto* ema = static_cast<float*>(a.list.data[0][piece.tensor]);
  const auto* p = static_cast<const float*>(a.list.data[1][piece.tensor]);
  for (std::int64_t i = piece.begin + threadIdx.x; i < piece.end; i += kThreads)
    ema[i] = a.rate * ema[i] + a.one_minus_rate * p[i];
}

__device__ __forceinline__ View vector_of(void* data, std::int64_t count, DType dtype) {
  return {data, 1, count, count, dtype};
}

__global__ void __launch_bounds__(kThreads, 2)
    scale_all_kernel(const ScaleAllParams __grid_constant__ a) {
  const Piece piece = own_piece(a.list);
  const View x = vector_of(a.list.data[0][piece.tensor], a.list.count[piece.tensor], a.dtype);
  for (std::int64_t i = piece.begin + threadIdx.x; i < piece.end; i += kThreads)
    store(x, i, load(x, i) * a.scale);
}

__global__ void __launch_bounds__(kThreads, 2)
    norm_sums_kernel(const NormParams __grid_constant__ a) {
  struct Storage {
    BlockStorage<double> sum;
    BlockStorage<int> flag;
  };
  auto& s = shared<Storage>();
  const Piece piece = own_piece(a.list);
  const View x =
      vector_of(a.list.data[0][piece.tensor], a.list.count[piece.tensor], a.dtypes[piece.tensor]);
  double sum = 0;
  int flag = 0;
  for (std::int64_t i = piece.begin + threadIdx.x; i < piece.end; i += kThreads) {
    const float element = load(x, i);
    const double value = a.scale * static_cast<double>(element);
    if (!(fabs(value) <= 1.7976931348623157e308)) flag = 1;  // infinite, or NaN
    sum += value * value;
  }
  sum = block_sum(s.sum, sum);
  flag = block_sum(s.flag, flag);
  if (threadIdx.x > 0) return;
  a.sums[a.first_sum + blockIdx.x] = sum;
  a.flags[a.first_sum + blockIdx.x] = flag;
}

__global__ void __launch_bounds__(kThreads, 2)
    norm_join_kernel(const NormJoinParams __grid_constant__ a) {
  struct Storage {
    BlockStorage<double> sum;
    BlockStorage<int> flag;
  };
  auto& s = shared<Storage>();
  double sum = 0;
  int flag = 0;
  for (std::int64_t i = threadIdx.x; i < a.count; i += kThreads) {
    sum += a.sums[i];
    flag += a.flags[i];
  }
  sum = block_sum(s.sum, sum);
  flag = block_sum(s.flag, flag);
  if (threadIdx.x > 0) return;
  a.out[0] = sqrt(sum);
  a.out[1] = flag > 0 ? 1.0 : 0.0;
}

constexpr std::size_t kNormShared = sizeof(BlockStorage<double>) + sizeof(BlockStorage<int>);

}  // namespace

void adamw_v1(const AdamWParams& p, Stream stream) {
  launch({"adamw", blocks_of(p.list), kThreads}, stream, adamw_kernel, p);
}
void ema_v1(const EmaParams& p, Stream stream) {
  launch({"ema", blocks_of(p.list), kThreads}, stream, ema_kernel, p);
}
void scale_all_v1(const ScaleAllParams& p, Stream stream) {
  launch({"scale_all", blocks_of(p.list), kThreads}, stream, scale_all_kernel, p);
}
void norm_sums_v1(const NormParams& p, Stream stream) {
  launch({"norm_sums", blocks_of(p.list), kThreads, kNormShared}, stream, norm_sums_kernel, p);
}
void norm_join_v1(const NormJoinParams& p, Stream stream) {
  launch({"norm_join", 1, kThreads, kNormShared}, stream, norm_join_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
