// group_norm_bwd, row v1_blocks: one pass over x and dy for the sums, one for dx. SiLU's derivative
// is computed in both, from x: cheaper than keeping dz.
#include <array>

#include "kernels/group_norm/blocks.h"
#include "runtime/parallel.h"

namespace tiller {

using namespace group_norm_detail;

namespace {

// Per sample and channel: xhat = (x - mean) rstd; z = xhat k + b; dx = dz dx_dz + (dx_0 + xhat
// dx_xhat).
enum Coefficient { kMean, kRstd, kK, kB, kDxDz, kDx0, kDxXhat, kCoefficients };

struct Scratch {
  float* partial;       // [N,blocks,2,C]: sums of dz and of dz xhat
  float* coefficients;  // [N,kCoefficients,C]
  double* sums;         // [N,2,C]: the partial sums merged
  std::size_t bytes;

  Scratch(void* base, const GroupNormSizes& s, const Blocks& blocks) {
    const std::int64_t doubles = s.samples * 2 * s.channels;
    const std::int64_t partials = s.samples * blocks.count * 2 * s.channels;
    const std::int64_t constants = s.samples * kCoefficients * s.channels;
    sums = static_cast<double*>(base);
    partial = reinterpret_cast<float*>(sums + doubles);
    coefficients = partial + partials;
    bytes = static_cast<std::size_t>(doubles) * sizeof(double) +
            static_cast<std::size_t>(partials + constants) * sizeof(float);
  }
};

// One vector of channels of one input pixel.
struct Element {
  V xhat, dz;
};

template <bool kSilu, class At, class T>
TILLER_INLINE Element element(const At& s, const T* x, const T* dy, const float* k,
                              std::int64_t stride, V dy_scale) {
  const V xhat = (s.load(x) - s.load(k + kMean * stride)) * s.load(k + kRstd * stride);
  V dz = s.load(dy) * dy_scale;
  if (kSilu) dz = dz * silu_slope(fma(xhat, s.load(k + kK * stride), s.load(k + kB * stride)));
  return {xhat, dz};
}

// Calls f(row of the input, x, dy) for a block's input pixels.
template <class T, class F>
void for_each_pixel(const GroupNormBwdArgs& args, const Source& source, const Blocks& blocks,
                    std::int64_t n, std::int64_t block, const F& f) {
  for (std::int64_t p = blocks.begin(block); p < blocks.end(block); ++p) {
    const T* dy = row_of<const T>(args.dy, n * blocks.outputs + p) + source.begin;
    for (std::int64_t i = 0; i < (args.pool ? 4 : 1); ++i) {
      const std::int64_t row = n * blocks.pixels + blocks.input(p, i);
      f(row, row_of<const T>(*source.x, row), dy);
    }
  }
}

template <bool kSilu, class T>
void sum_block(const GroupNormBwdArgs& args, const GroupNormSizes& s, const Blocks& blocks,
               const Scratch& scratch, std::int64_t n, std::int64_t block) {
  const V dy_scale(args.pool ? 0.25f : 1.0f);
  float* sums = scratch.partial + (n * blocks.count + block) * 2 * s.channels;
  std::fill_n(sums, 2 * s.channels, 0.0f);
  for (const Source& source : sources(args, s)) {
    if (source.channels == 0) continue;
    const float* k = scratch.coefficients + n * kCoefficients * s.channels + source.begin;
    float* s1 = sums + source.begin;
    float* s2 = s1 + s.channels;
    for_each_pixel<T>(args, source, blocks, n, block, [&](std::int64_t, const T* x, const T* dy) {
      for_each_vector<V>(source.channels, [&](auto step) {
        const Element e = element<kSilu>(step, x, dy, k, s.channels, dy_scale);
        step.store(step.load(s1) + e.dz, s1);
        step.store(fma(e.dz, e.xhat, step.load(s2)), s2);
      });
    });
  }
}

template <bool kSilu, class T>
void write_block(const GroupNormBwdArgs& args, const GroupNormSizes& s, const Blocks& blocks,
                 const Scratch& scratch, std::int64_t n, std::int64_t block) {
  const V dy_scale(args.pool ? 0.25f : 1.0f);
  for (const Source& source : sources(args, s)) {
    const Tensor& dx = source.begin == 0 ? args.dx0 : args.dx1;
    if (source.channels == 0 || !dx) continue;
    const float* k = scratch.coefficients + n * kCoefficients * s.channels + source.begin;
    const std::int64_t stride = s.channels;
    for_each_pixel<T>(
        args, source, blocks, n, block, [&](std::int64_t row, const T* x, const T* dy) {
          T* out = row_of<T>(dx, row);
          for_each_vector<V>(source.channels, [&](auto step) {
            const Element e = element<kSilu>(step, x, dy, k, stride, dy_scale);
            const V rest =
                fma(e.xhat, step.load(k + kDxXhat * stride), step.load(k + kDx0 * stride));
            step.store(fma(e.dz, step.load(k + kDxDz * stride), rest), out);
          });
        });
  }
}

// 1 + scale of a sample's channel.
double scale1(const GroupNormBwdArgs& args, std::int64_t n, std::int64_t c) {
  return args.emb ? 1 + static_cast<double>(load_emb_f32(args.emb, n, c)) : 1;
}

// Coefficients that the forward's results decide.
void prepare(const GroupNormBwdArgs& args, const GroupNormSizes& s, float* k, std::int64_t n) {
  for (std::int64_t c = 0; c < s.channels; ++c) {
    const float* mean_rstd = row_of<const float>(args.mean_rstd, n * s.groups + c / s.group_size);
    const double shift =
        args.emb ? static_cast<double>(load_emb_f32(args.emb, n, s.channels + c)) : 0;
    const double scale = scale1(args, n, c);
    k[kMean * s.channels + c] = mean_rstd[0];
    k[kRstd * s.channels + c] = mean_rstd[1];
    k[kK * s.channels + c] =
        static_cast<float>(static_cast<double>(row_of<const float>(args.gamma, 0)[c]) * scale);
    k[kB * s.channels + c] = static_cast<float>(
        static_cast<double>(row_of<const float>(args.beta, 0)[c]) * scale + shift);
  }
}

// Merges the blocks of one sample and group, in order, and finds dx's coefficients.
void merge_group(const GroupNormSizes& s, const Blocks& blocks, const Scratch& scratch,
                 std::int64_t n, std::int64_t g) {
  float* k = scratch.coefficients + n * kCoefficients * s.channels;
  double group1 = 0, group2 = 0;  // sums of k dz and of k dz xhat
  for (std::int64_t c = g * s.group_size; c < (g + 1) * s.group_size; ++c) {
    double s1 = 0, s2 = 0;
    for (std::int64_t block = 0; block < blocks.count; ++block) {
      const float* at = scratch.partial + (n * blocks.count + block) * 2 * s.channels + c;
      s1 += static_cast<double>(at[0]);
      s2 += static_cast<double>(at[s.channels]);
    }
    scratch.sums[n * 2 * s.channels + c] = s1;
    scratch.sums[(n * 2 + 1) * s.channels + c] = s2;
    group1 += static_cast<double>(k[kK * s.channels + c]) * s1;
    group2 += static_cast<double>(k[kK * s.channels + c]) * s2;
  }
  const auto count = static_cast<double>(s.pixels * s.group_size);
  for (std::int64_t c = g * s.group_size; c < (g + 1) * s.group_size; ++c) {
    const double rstd = k[kRstd * s.channels + c];
    k[kDxDz * s.channels + c] =
        static_cast<float>(rstd * static_cast<double>(k[kK * s.channels + c]));
    k[kDx0 * s.channels + c] = static_cast<float>(-rstd * group1 / count);
    k[kDxXhat * s.channels + c] = static_cast<float>(-rstd * group2 / count);
  }
}

// The parameters' gradients of one channel, over samples in order.
template <class T>
void write_parameters(const GroupNormBwdArgs& args, const GroupNormSizes& s, const double* sums,
                      std::int64_t c) {
  double dgamma = 0, dbeta = 0;
  const double gamma = row_of<const float>(args.gamma, 0)[c];
  const double beta = row_of<const float>(args.beta, 0)[c];
  for (std::int64_t n = 0; n < s.samples; ++n) {
    const double s1 = sums[n * 2 * s.channels + c], s2 = sums[(n * 2 + 1) * s.channels + c];
    if (args.demb) {
      store_emb<T>(args.demb, n, c, static_cast<float>(gamma * s2 + beta * s1));
      store_emb<T>(args.demb, n, s.channels + c, static_cast<float>(s1));
    }
    dgamma += scale1(args, n, c) * s2;
    dbeta += scale1(args, n, c) * s1;
  }
  if (args.dgamma) row_of<float>(args.dgamma, 0)[c] = static_cast<float>(dgamma);
  if (args.dbeta) row_of<float>(args.dbeta, 0)[c] = static_cast<float>(dbeta);
}

template <class T>
void run(const GroupNormBwdArgs& args, void* workspace) {
  const GroupNormSizes s(args);
  const Blocks blocks(args, s);
  const Scratch scratch(workspace, s, blocks);

  launch("group_norm_bwd_prepare", s.samples, [&](std::int64_t n) {
    prepare(args, s, scratch.coefficients + n * kCoefficients * s.channels, n);
  });
  launch("group_norm_bwd_sums", s.samples * blocks.count, [&](std::int64_t task) {
    const std::int64_t n = task / blocks.count, block = task % blocks.count;
    if (args.silu)
      sum_block<true, T>(args, s, blocks, scratch, n, block);
    else
      sum_block<false, T>(args, s, blocks, scratch, n, block);
  });
  launch("group_norm_bwd_merge", s.samples * s.groups, [&](std::int64_t task) {
    merge_group(s, blocks, scratch, task / s.groups, task % s.groups);
  });
  if (args.dgamma || args.dbeta || args.demb)
    launch("group_norm_bwd_parameters", s.channels,
           [&](std::int64_t c) { write_parameters<T>(args, s, scratch.sums, c); });
  if (args.dx0 || args.dx1)
    launch("group_norm_bwd_apply", s.samples * blocks.count, [&](std::int64_t task) {
      const std::int64_t n = task / blocks.count, block = task % blocks.count;
      if (args.silu)
        write_block<true, T>(args, s, blocks, scratch, n, block);
      else
        write_block<false, T>(args, s, blocks, scratch, n, block);
    });
}

}  // namespace

std::size_t group_norm_bwd_blocks_workspace(const GroupNormBwdArgs& args) {
  const GroupNormSizes s(args);
  return Scratch(nullptr, s, Blocks(args, s)).bytes;
}

void group_norm_bwd_blocks(const GroupNormBwdArgs& args, void* workspace, Stream) {
  dispatch_f32_rows(args.dtype(), [&](auto zero) { run<decltype(zero)>(args, workspace); });
}

}  // namespace tiller
