#pragma once
// What the CPU rows v1_blocks and v2_blocks_avx512 of group_norm share. Both directions have three
// phases: every block of pixels makes partial sums per channel; every group merges them in block
// order, in f64; every block of pixels is written. Blocks depend on the shape alone, so any number of
// threads gives the same bits.
#include <algorithm>
#include <array>

#include "kernels/group_norm/loops.h"
#include "kernels/group_norm/reference.h"
#include "runtime/parallel.h"

namespace tiller::group_norm_detail {

/// Output pixels in blocks, and the input pixels below each: itself, or a 2x2 block with pool.
struct Blocks {
  std::int64_t pixels;  ///< of the input
  std::int64_t outputs;
  std::int64_t width;  ///< of the input image; 0 without pool
  std::int64_t per_block;
  std::int64_t count;  ///< of blocks per sample

  template <class Args>
  Blocks(const Args& args, const GroupNormSizes& s)
      : pixels(s.pixels),
        outputs(args.pool ? s.pixels / 4 : s.pixels),
        width(args.pool ? args.x0.dim(2) : 0) {
    // A block's input should stay in the second-level cache while it is read twice.
    constexpr std::int64_t kElements = 16384;
    const std::int64_t inputs = std::clamp<std::int64_t>(kElements / s.channels, 8, 128);
    per_block = args.pool ? inputs / 4 : inputs;
    count = (outputs + per_block - 1) / per_block;
  }
  std::int64_t begin(std::int64_t block) const { return block * per_block; }
  std::int64_t end(std::int64_t block) const { return std::min(outputs, begin(block) + per_block); }
  /// How many input pixels a block has.
  std::int64_t inputs(std::int64_t block) const {
    return (end(block) - begin(block)) * (width ? 4 : 1);
  }
  /// Input pixel i of the 4 (or 1) below an output pixel.
  std::int64_t input(std::int64_t output, std::int64_t i) const {
    if (!width) return output;
    const std::int64_t row = output / (width / 2) * 2 + i / 2;
    return row * width + output % (width / 2) * 2 + i % 2;
  }
};

/// Runs the phases of a normalisation over all samples: phase p has tasks(p) of them in each, run by
/// task(p, n, i). With a sample or more for each thread a thread takes whole samples, and finds in its
/// cache what it read in the phase before; otherwise all threads share each phase. No result depends
/// on which.
template <std::size_t kPhases, class F>
void for_each_sample(const char* name, std::int64_t samples,
                     const std::array<std::int64_t, kPhases>& tasks, const F& task) {
  if (samples >= threads()) {
    launch_dynamic(name, samples, [&](std::int64_t n) {
      for (std::size_t p = 0; p < kPhases; ++p)
        for (std::int64_t i = 0; i < tasks[p]; ++i) task(p, n, i);
    });
    return;
  }
  for (std::size_t p = 0; p < kPhases; ++p)
    launch(name, samples * tasks[p], [&](std::int64_t i) { task(p, i / tasks[p], i % tasks[p]); });
}

/// One of the two sources: its tensor, where its channels begin in the concatenation, how many it
/// has.
struct Source {
  const Tensor* x;
  std::int64_t begin, channels;
};
template <class Args>
std::array<Source, 2> sources(const Args& args, const GroupNormSizes& s) {
  return {Source{&args.x0, 0, s.c0}, Source{&args.x1, s.c0, s.channels - s.c0}};
}

/// Calls f(rows of x, how many) for a block's input pixels: all at once, or one by one where they
/// do not lie side by side.
template <class T, class F>
void for_each_run(const Source& source, const Blocks& blocks, std::int64_t n, std::int64_t block,
                  const F& f) {
  const auto rows = [&](std::int64_t input) {
    return Rows<const T>{row_of<const T>(*source.x, n * blocks.pixels + input),
                         source.x->row_stride()};
  };
  const std::int64_t begin = blocks.begin(block), end = blocks.end(block);
  if (!blocks.width) return f(rows(begin), end - begin);
  for (std::int64_t p = begin; p < end; ++p)
    for (std::int64_t i = 0; i < 4; ++i) f(rows(blocks.input(p, i)), 1);
}

inline float load_emb_f32(const Tensor& emb, std::int64_t n, std::int64_t i) {
  switch (emb.dtype()) {
    case DType::f16:
      return static_cast<float>(row_of<const f16>(emb, n)[i]);
    case DType::bf16:
      return static_cast<float>(row_of<const bf16>(emb, n)[i]);
    default:
      return row_of<const float>(emb, n)[i];
  }
}

/// Calls f(T{}) with the storage type of f32, f16 or bf16.
template <class F>
void dispatch_f32_rows(DType dtype, const F& f) {
  if (dtype == DType::f16) return f(f16{});
  if (dtype == DType::bf16) return f(bf16{});
  f(float{});
}

}  // namespace tiller::group_norm_detail

namespace tiller {

std::size_t group_norm_fwd_blocks_workspace(const GroupNormFwdArgs& args);
void group_norm_fwd_blocks(const GroupNormFwdArgs& args, void* workspace, Stream stream);
void group_norm_fwd_blocks_avx512(const GroupNormFwdArgs& args, void* workspace, Stream stream);
std::size_t group_norm_bwd_blocks_workspace(const GroupNormBwdArgs& args);
void group_norm_bwd_blocks(const GroupNormBwdArgs& args, void* workspace, Stream stream);
void group_norm_bwd_blocks_avx512(const GroupNormBwdArgs& args, void* workspace, Stream stream);

}  // namespace tiller
