// group_norm_fwd, rows v1_blocks and v2_blocks_avx512: x is read once for the statistics (twice in a
// block, the second time from the cache) and once to be normalised.
#include <array>

#include "kernels/group_norm/blocks.h"
#include "runtime/parallel.h"

namespace tiller {

using namespace group_norm_detail;

namespace {

// The workspace, all f32. y = (x - mean) a + b: subtracting the mean first keeps the digits of a
// small deviation from a large mean.
struct Scratch {
  float* partial;  // [N,blocks,2,C]: mean and sum of squared deviations
  float* affine;   // [N,3,C]: mean, a, b
  std::size_t bytes;

  Scratch(void* base, const GroupNormSizes& s, const Blocks& blocks) {
    partial = static_cast<float*>(base);
    const std::int64_t partials = s.samples * blocks.count * 2 * s.channels;
    affine = partial + partials;
    bytes = static_cast<std::size_t>(partials + s.samples * 3 * s.channels) * sizeof(float);
  }
};

// Mean and sum of squared deviations of a block's pixels, per channel of one source.
template <class T>
void block_moments(const Loops<T>& loops, const Source& source, const Blocks& blocks,
                   std::int64_t n, std::int64_t block, float* mean, float* m2) {
  const std::int64_t channels = source.channels;
  std::fill_n(mean, channels, 0.0f);
  std::fill_n(m2, channels, 0.0f);
  for_each_run<T>(source, blocks, n, block,
                  [&](Rows<const T> x, std::int64_t rows) { loops.add(x, rows, channels, mean); });
  const float scale = 1.0f / static_cast<float>(blocks.inputs(block));
  for (std::int64_t c = 0; c < channels; ++c) mean[c] *= scale;
  for_each_run<T>(source, blocks, n, block, [&](Rows<const T> x, std::int64_t rows) {
    loops.add_squares(x, rows, channels, mean, m2);
  });
}

// Merges the blocks (or takes ready statistics) of all channels of one sample and group.
Moments<double> merge_group(const GroupNormFwdArgs& args, const GroupNormSizes& s,
                            const Blocks& blocks, const float* partial, std::int64_t n,
                            std::int64_t g) {
  // Calls f(count, mean, m2) for everything that is to be merged.
  const auto for_each_part = [&](const auto& f) {
    for (std::int64_t c = g * s.group_size; c < (g + 1) * s.group_size; ++c) {
      const Tensor& ready = c < s.c0 ? args.stats0 : args.stats1;
      if (ready) {
        const float* stats =
            row_of<const float>(ready, n * ready.dim(1) + (c < s.c0 ? c : c - s.c0));
        f(static_cast<double>(s.pixels), stats[0], stats[1]);
        continue;
      }
      for (std::int64_t block = 0; block < blocks.count; ++block) {
        const float* at = partial + (n * blocks.count + block) * 2 * s.channels + c;
        f(static_cast<double>(blocks.inputs(block)), at[0], at[s.channels]);
      }
    }
  };
  double sum = 0;
  for_each_part([&](double count, float mean, float) { sum += count * static_cast<double>(mean); });
  const double mean = sum / static_cast<double>(s.pixels * s.group_size);
  double m2 = 0;
  for_each_part([&](double count, float part_mean, float part_m2) {
    const double d = static_cast<double>(part_mean) - mean;
    m2 += static_cast<double>(part_m2) + count * d * d;
  });
  return {mean, m2};
}

template <class T>
void write_block(const Loops<T>& loops, const GroupNormFwdArgs& args, const GroupNormSizes& s,
                 const Blocks& blocks, const float* affine, std::int64_t n, std::int64_t block) {
  for (const Source& source : sources(args, s)) {
    if (source.channels == 0) continue;
    const Constants k{affine + n * kFwdConstants * s.channels + source.begin, s.channels};
    const auto y = [&](std::int64_t p) {
      return row_of<T>(args.y, n * blocks.outputs + p) + source.begin;
    };
    const auto x = [&](std::int64_t input) {
      return row_of<const T>(*source.x, n * blocks.pixels + input);
    };
    const std::int64_t begin = blocks.begin(block), end = blocks.end(block);
    if (!args.pool) {
      loops.apply[args.silu]({x(begin), source.x->row_stride()}, end - begin, source.channels, k,
                             {y(begin), args.y.row_stride()});
      continue;
    }
    for (std::int64_t p = begin; p < end; ++p) {
      const T* const four[4] = {x(blocks.input(p, 0)), x(blocks.input(p, 1)), x(blocks.input(p, 2)),
                                x(blocks.input(p, 3))};
      loops.apply_and_pool[args.silu](four, source.channels, k, y(p));
    }
  }
}

// The moments of a block's pixels, of those sources that come without.
template <class T>
void sum_block(const Loops<T>& loops, const GroupNormFwdArgs& args, const GroupNormSizes& s,
               const Blocks& blocks, const Scratch& scratch, std::int64_t n, std::int64_t block) {
  float* mean = scratch.partial + (n * blocks.count + block) * 2 * s.channels;
  for (const Source& source : sources(args, s))
    if (source.channels && !(source.begin == 0 ? args.stats0 : args.stats1))
      block_moments<T>(loops, source, blocks, n, block, mean + source.begin,
                       mean + s.channels + source.begin);
}

// A group's statistics, and what they make of its channels' affine map.
void finish_group(const GroupNormFwdArgs& args, const GroupNormSizes& s, const Blocks& blocks,
                  const Scratch& scratch, std::int64_t n, std::int64_t g) {
  const Moments<double> group = merge_group(args, s, blocks, scratch.partial, n, g);
  const double variance = group.m2 / static_cast<double>(s.pixels * s.group_size);
  const double rstd = 1 / std::sqrt(variance + args.eps);
  float* mean_rstd = row_of<float>(args.mean_rstd, n * s.groups + g);
  mean_rstd[0] = static_cast<float>(group.mean);
  mean_rstd[1] = static_cast<float>(rstd);
  float* affine = scratch.affine + n * kFwdConstants * s.channels;
  for (std::int64_t c = g * s.group_size; c < (g + 1) * s.group_size; ++c) {
    double a = rstd * static_cast<double>(row_of<const float>(args.gamma, 0)[c]);
    double b = row_of<const float>(args.beta, 0)[c];
    if (args.emb) {
      const double scale1 = 1 + static_cast<double>(load_emb_f32(args.emb, n, c));
      a *= scale1;
      b = b * scale1 + static_cast<double>(load_emb_f32(args.emb, n, s.channels + c));
    }
    affine[c] = mean_rstd[0];
    affine[s.channels + c] = static_cast<float>(a);
    // What rounding the mean to f32 left over.
    affine[2 * s.channels + c] =
        static_cast<float>(b - (group.mean - static_cast<double>(mean_rstd[0])) * a);
  }
}

template <class T>
void run(const Loops<T>& loops, const GroupNormFwdArgs& args, void* workspace) {
  const GroupNormSizes s(args);
  const Blocks blocks(args, s);
  const Scratch scratch(workspace, s, blocks);

  const bool ready = args.stats0 && (!args.x1 || args.stats1);
  for_each_sample<3>("group_norm_fwd", s.samples,
                     {ready ? 0 : blocks.count, s.groups, blocks.count},
                     [&](std::size_t phase, std::int64_t n, std::int64_t i) {
                       if (phase == 0)
                         sum_block<T>(loops, args, s, blocks, scratch, n, i);
                       else if (phase == 1)
                         finish_group(args, s, blocks, scratch, n, i);
                       else
                         write_block<T>(loops, args, s, blocks, scratch.affine, n, i);
                     });
}

}  // namespace

std::size_t group_norm_fwd_blocks_workspace(const GroupNormFwdArgs& args) {
  const GroupNormSizes s(args);
  return Scratch(nullptr, s, Blocks(args, s)).bytes;
}

void group_norm_fwd_blocks(const GroupNormFwdArgs& args, void* workspace, Stream) {
  dispatch_f32_rows(args.dtype(), [&](auto zero) { run(loops_avx2().of(zero), args, workspace); });
}

void group_norm_fwd_blocks_avx512(const GroupNormFwdArgs& args, void* workspace, Stream) {
  dispatch_f32_rows(args.dtype(),
                    [&](auto zero) { run(loops_avx512().of(zero), args, workspace); });
}

}  // namespace tiller
