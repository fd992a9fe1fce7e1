// attention, rows v1_flash and v2_flash_avx512: arguments become plain data, tasks are launched.
#include "kernels/attention/flash_rows.h"
#include "kernels/attention/flash_tasks.h"
#include "runtime/parallel.h"

namespace tiller {

namespace flash {
Tasks tasks_avx2(Element element) { return tasks_for<f32x8>(element); }
}  // namespace flash

using namespace flash;

namespace {

bool processor_has_avx512() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return has;
}

Element element_of(DType dtype) {
  if (dtype == DType::f16) return Element::f16;
  return dtype == DType::bf16 ? Element::bf16 : Element::f32;
}

template <class P, class Args>
P problem(const Args& args) {
  P p{};
  p.samples = args.qkv.dim(0);
  p.tokens = args.qkv.dim(1);
  p.heads = args.heads;
  p.queries = args.one_query ? 1 : p.tokens;
  p.head_size = args.qkv.dim(2) / 3 / p.heads;
  p.padded = blocks_of(p.head_size, kPad) * kPad;
  p.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(p.head_size)));
  const QkvStrides strides = qkv_strides(args.order, p.heads, p.head_size);
  p.part_stride = strides.part;
  p.head_stride = strides.head;
  p.qkv = args.qkv.raw();
  p.qkv_stride = args.qkv.row_stride();
  p.o = args.o.raw();
  p.o_stride = args.o.row_stride();
  if (args.lse) {
    p.lse = static_cast<float*>(args.lse.raw());
    p.lse_stride = args.lse.row_stride();
  }
  return p;
}

// Lays the workspace out from `base` and returns its size in floats.
std::int64_t lay_out(Forward& p, float* base) {
  p.keys = base;
  p.values = p.keys + p.samples * p.heads * p.key_blocks() * kKeys * p.head_size;
  p.scratch = base + p.packed_size();
  return p.packed_size() + threads() * p.scratch_size();
}

std::int64_t lay_out(Backward& p, float* base) {
  // Enough tasks for many cores, at the price of one copy of dq per chunk.
  constexpr std::int64_t kTasks = 32;
  const std::int64_t heads = std::max<std::int64_t>(1, p.samples * p.heads);
  p.chunks = std::min(p.key_blocks(), blocks_of(kTasks, heads));
  p.packed_q = base;
  p.packed_do = p.packed_q + p.query_size();
  p.dq = p.packed_do + p.query_size();
  p.scratch = p.dq + p.chunks * p.query_size();
  p.delta = p.scratch + threads() * p.scratch_size();
  return (2 + p.chunks) * p.query_size() + threads() * p.scratch_size() +
         p.samples * p.heads * p.queries;
}

void run_forward(const AttentionFwdArgs& args, void* workspace, const Tasks& tasks) {
  Forward p = problem<Forward>(args);
  p.out = args.o.raw();
  lay_out(p, static_cast<float*>(workspace));
  const std::int64_t heads = p.samples * p.heads;
  launch("attention_pack", heads * p.key_blocks(), [&](std::int64_t task) { tasks.pack(p, task); });
  launch("attention_fwd", heads * p.query_blocks(), [&](std::int64_t task) {
    tasks.forward(p, task, p.scratch + thread_index() * p.scratch_size());
  });
}

void run_backward(const AttentionBwdArgs& args, void* workspace, const Tasks& tasks) {
  Backward p = problem<Backward>(args);
  p.d_o = args.d_o.raw();
  p.d_o_stride = args.d_o.row_stride();
  p.dqkv = args.dqkv.raw();
  p.dqkv_stride = args.dqkv.row_stride();
  lay_out(p, static_cast<float*>(workspace));
  const std::int64_t heads = p.samples * p.heads;
  launch("attention_bwd_pack", heads * p.query_blocks(),
         [&](std::int64_t task) { tasks.bwd_pack(p, task); });
  launch("attention_bwd", heads * p.chunks, [&](std::int64_t task) {
    tasks.backward(p, task, p.scratch + thread_index() * p.scratch_size());
  });
  launch("attention_bwd_merge", heads * blocks_of(p.tokens, kBwdQueries),
         [&](std::int64_t task) { tasks.merge(p, task); });
}

}  // namespace

bool flash_supported(const AttentionFwdArgs& args) { return args.dtype() != DType::f64; }
bool flash_supported(const AttentionBwdArgs& args) { return args.dtype() != DType::f64; }
bool flash_avx512_supported(const AttentionFwdArgs& args) {
  return flash_supported(args) && processor_has_avx512();
}
bool flash_avx512_supported(const AttentionBwdArgs& args) {
  return flash_supported(args) && processor_has_avx512();
}

std::size_t flash_workspace(const AttentionFwdArgs& args) {
  Forward p = problem<Forward>(args);
  return static_cast<std::size_t>(lay_out(p, nullptr)) * sizeof(float);
}
std::size_t flash_workspace(const AttentionBwdArgs& args) {
  Backward p = problem<Backward>(args);
  return static_cast<std::size_t>(lay_out(p, nullptr)) * sizeof(float);
}

void flash_fwd(const AttentionFwdArgs& args, void* workspace, Stream) {
  run_forward(args, workspace, tasks_avx2(element_of(args.dtype())));
}
void flash_bwd(const AttentionBwdArgs& args, void* workspace, Stream) {
  run_backward(args, workspace, tasks_avx2(element_of(args.dtype())));
}
void flash_fwd_avx512(const AttentionFwdArgs& args, void* workspace, Stream) {
  run_forward(args, workspace, tasks_avx512(element_of(args.dtype())));
}
void flash_bwd_avx512(const AttentionBwdArgs& args, void* workspace, Stream) {
  run_backward(args, workspace, tasks_avx512(element_of(args.dtype())));
}

}  // namespace tiller
