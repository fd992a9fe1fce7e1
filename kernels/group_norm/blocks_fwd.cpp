// group_norm_fwd, row v1_blocks: x is read once for the statistics (twice in a block, the second
// time from the cache) and once to be normalised.
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
void block_moments(const Source& source, const Blocks& blocks, std::int64_t n, std::int64_t block,
                   float* mean, float* m2) {
  const std::int64_t channels = source.channels;
  const auto for_each_pixel = [&](const auto& f) {
    for (std::int64_t p = blocks.begin(block); p < blocks.end(block); ++p)
      for (std::int64_t i = 0; i < (blocks.width ? 4 : 1); ++i)
        f(row_of<const T>(*source.x, n * blocks.pixels + blocks.input(p, i)));
  };
  std::fill_n(mean, channels, 0.0f);
  std::fill_n(m2, channels, 0.0f);
  for_each_pixel([&](const T* x) {
    for_each_vector<V>(channels, [&](auto s) { s.store(s.load(mean) + s.load(x), mean); });
  });
  const V scale(1.0f / static_cast<float>(blocks.inputs(block)));
  for_each_vector<V>(channels, [&](auto s) { s.store(s.load(mean) * scale, mean); });
  for_each_pixel([&](const T* x) {
    for_each_vector<V>(channels, [&](auto s) {
      const V d = s.load(x) - s.load(mean);
      s.store(fma(d, d, s.load(m2)), m2);
    });
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

template <bool kSilu, class T>
void apply(const T* x, const float* affine, std::int64_t stride, std::int64_t channels, T* y) {
  for_each_vector<V>(channels, [&](auto s) {
    const V z =
        fma(s.load(x) - s.load(affine), s.load(affine + stride), s.load(affine + 2 * stride));
    s.store(kSilu ? silu(z) : z, y);
  });
}

template <bool kSilu, class T>
void apply_and_pool(const std::array<const T*, 4>& x, const float* affine, std::int64_t stride,
                    std::int64_t channels, T* y) {
  for_each_vector<V>(channels, [&](auto s) {
    const V mean = s.load(affine), a = s.load(affine + stride), b = s.load(affine + 2 * stride);
    V total(0.0f);
    for (const T* row : x) {
      const V z = fma(s.load(row) - mean, a, b);
      total += kSilu ? silu(z) : z;
    }
    s.store(total * V(0.25f), y);
  });
}

template <bool kSilu, class T>
void write_block(const GroupNormFwdArgs& args, const GroupNormSizes& s, const Blocks& blocks,
                 const float* affine, std::int64_t n, std::int64_t block) {
  for (const Source& source : sources(args, s)) {
    if (source.channels == 0) continue;
    const float* own = affine + n * 3 * s.channels + source.begin;
    for (std::int64_t p = blocks.begin(block); p < blocks.end(block); ++p) {
      T* y = row_of<T>(args.y, n * blocks.outputs + p) + source.begin;
      const auto x = [&](std::int64_t i) {
        return row_of<const T>(*source.x, n * blocks.pixels + blocks.input(p, i));
      };
      if (args.pool)
        apply_and_pool<kSilu, T>({x(0), x(1), x(2), x(3)}, own, s.channels, source.channels, y);
      else
        apply<kSilu>(x(0), own, s.channels, source.channels, y);
    }
  }
}

template <class T>
void run(const GroupNormFwdArgs& args, void* workspace) {
  const GroupNormSizes s(args);
  const Blocks blocks(args, s);
  const Scratch scratch(workspace, s, blocks);

  if (!args.stats0 || (args.x1 && !args.stats1))
    launch("group_norm_moments", s.samples * blocks.count, [&](std::int64_t task) {
      float* mean = scratch.partial + task * 2 * s.channels;
      for (const Source& source : sources(args, s))
        if (source.channels && !(source.begin == 0 ? args.stats0 : args.stats1))
          block_moments<T>(source, blocks, task / blocks.count, task % blocks.count,
                           mean + source.begin, mean + s.channels + source.begin);
    });

  launch("group_norm_merge", s.samples * s.groups, [&](std::int64_t task) {
    const std::int64_t n = task / s.groups, g = task % s.groups;
    const Moments<double> group = merge_group(args, s, blocks, scratch.partial, n, g);
    const double variance = group.m2 / static_cast<double>(s.pixels * s.group_size);
    const double rstd = 1 / std::sqrt(variance + args.eps);
    float* mean_rstd = row_of<float>(args.mean_rstd, task);
    mean_rstd[0] = static_cast<float>(group.mean);
    mean_rstd[1] = static_cast<float>(rstd);
    float* affine = scratch.affine + n * 3 * s.channels;
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
  });

  launch("group_norm_apply", s.samples * blocks.count, [&](std::int64_t task) {
    const std::int64_t n = task / blocks.count, block = task % blocks.count;
    if (args.silu)
      write_block<true, T>(args, s, blocks, scratch.affine, n, block);
    else
      write_block<false, T>(args, s, blocks, scratch.affine, n, block);
  });
}

}  // namespace

std::size_t group_norm_fwd_blocks_workspace(const GroupNormFwdArgs& args) {
  const GroupNormSizes s(args);
  return Scratch(nullptr, s, Blocks(args, s)).bytes;
}

void group_norm_fwd_blocks(const GroupNormFwdArgs& args, void* workspace, Stream) {
  dispatch_f32_rows(args.dtype(), [&](auto zero) { run<decltype(zero)>(args, workspace); });
}

}  // namespace tiller
