// group_norm_bwd, rows v1_blocks and v2_blocks_avx512: one pass over x and dy for the sums, one for
// dx. dz = dy silu'(z) is kept in dx from the first for the second; where dx is narrower than f32, or
// not asked for, it is computed anew.
#include <array>

#include "kernels/group_norm/blocks.h"
#include "runtime/parallel.h"

namespace tiller {

using namespace group_norm_detail;

namespace {

struct Scratch {
  float* partial;       // [N,blocks,2,C]: sums of dz and of dz xhat
  float* coefficients;  // [N,kBwdConstants,C]
  double* sums;         // [N,2,C]: the partial sums merged
  std::size_t bytes;

  Scratch(void* base, const GroupNormSizes& s, const Blocks& blocks) {
    const std::int64_t doubles = s.samples * 2 * s.channels;
    const std::int64_t partials = s.samples * blocks.count * 2 * s.channels;
    const std::int64_t constants = s.samples * kBwdConstants * s.channels;
    sums = static_cast<double*>(base);
    partial = reinterpret_cast<float*>(sums + doubles);
    coefficients = partial + partials;
    bytes = static_cast<std::size_t>(doubles) * sizeof(double) +
            static_cast<std::size_t>(partials + constants) * sizeof(float);
  }
};

template <class T>
bool keeps_dz(const GroupNormBwdArgs& args) {
  return std::is_same_v<T, float> && args.silu;
}

// Where a source's dx goes, or none.
template <class T>
Rows<T> dx_rows(const GroupNormBwdArgs& args, const Source& source, std::int64_t row) {
  const Tensor& dx = source.begin == 0 ? args.dx0 : args.dx1;
  if (!dx) return {nullptr, 0};
  return {row_of<T>(dx, row), dx.row_stride()};
}

// Calls f(first row of the input, rows of x, rows of dy, how many) for a block's input pixels.
template <class T, class F>
void for_each_run(const GroupNormBwdArgs& args, const Source& source, const Blocks& blocks,
                  std::int64_t n, std::int64_t block, const F& f) {
  const auto run = [&](std::int64_t input, std::int64_t output, std::int64_t rows) {
    const std::int64_t row = n * blocks.pixels + input;
    f(row, Rows<const T>{row_of<const T>(*source.x, row), source.x->row_stride()},
      Rows<const T>{row_of<const T>(args.dy, n * blocks.outputs + output) + source.begin,
                    args.dy.row_stride()},
      rows);
  };
  const std::int64_t begin = blocks.begin(block), end = blocks.end(block);
  if (!args.pool) return run(begin, begin, end - begin);
  for (std::int64_t p = begin; p < end; ++p)
    for (std::int64_t i = 0; i < 4; ++i) run(blocks.input(p, i), p, 1);
}

template <class T>
void sum_block(const Loops<T>& loops, const GroupNormBwdArgs& args, const GroupNormSizes& s,
               const Blocks& blocks, const Scratch& scratch, std::int64_t n, std::int64_t block) {
  float* sums = scratch.partial + (n * blocks.count + block) * 2 * s.channels;
  std::fill_n(sums, 2 * s.channels, 0.0f);
  for (const Source& source : sources(args, s)) {
    if (source.channels == 0) continue;
    const Constants k{scratch.coefficients + n * kBwdConstants * s.channels + source.begin,
                      s.channels};
    float* s1 = sums + source.begin;
    for_each_run<T>(args, source, blocks, n, block,
                    [&](std::int64_t row, Rows<const T> x, Rows<const T> dy, std::int64_t rows) {
                      const Rows<T> dz =
                          keeps_dz<T>(args) ? dx_rows<T>(args, source, row) : Rows<T>{nullptr, 0};
                      loops.sums[args.silu](x, dy, rows, source.channels, k,
                                            args.pool ? 0.25f : 1.0f, s1, s1 + s.channels, dz);
                    });
  }
}

template <class T>
void write_block(const Loops<T>& loops, const GroupNormBwdArgs& args, const GroupNormSizes& s,
                 const Blocks& blocks, const Scratch& scratch, std::int64_t n, std::int64_t block) {
  for (const Source& source : sources(args, s)) {
    if (source.channels == 0 || !dx_rows<T>(args, source, 0).at) continue;
    const Constants k{scratch.coefficients + n * kBwdConstants * s.channels + source.begin,
                      s.channels};
    for_each_run<T>(
        args, source, blocks, n, block,
        [&](std::int64_t row, Rows<const T> x, Rows<const T> dy, std::int64_t rows) {
          const Rows<T> dx = dx_rows<T>(args, source, row);
          Rows<const T> add{nullptr, 0};
          if (args.add0 && source.begin == 0)
            add = {row_of<const T>(args.add0, row), args.add0.row_stride()};
          if (keeps_dz<T>(args))
            loops.write[false](x, {dx.at, dx.stride}, add, rows, source.channels, k, 1.0f, dx);
          else
            loops.write[args.silu](x, dy, add, rows, source.channels, k, args.pool ? 0.25f : 1.0f,
                                   dx);
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
  float* k = scratch.coefficients + n * kBwdConstants * s.channels;
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
void run(const Loops<T>& loops, const GroupNormBwdArgs& args, void* workspace) {
  const GroupNormSizes s(args);
  const Blocks blocks(args, s);
  const Scratch scratch(workspace, s, blocks);

  const std::int64_t written = args.dx0 || args.dx1 ? blocks.count : 0;
  for_each_sample<4>("group_norm_bwd", s.samples, {1, blocks.count, s.groups, written},
                     [&](std::size_t phase, std::int64_t n, std::int64_t i) {
                       if (phase == 0)
                         prepare(args, s, scratch.coefficients + n * kBwdConstants * s.channels, n);
                       else if (phase == 1)
                         sum_block<T>(loops, args, s, blocks, scratch, n, i);
                       else if (phase == 2)
                         merge_group(s, blocks, scratch, n, i);
                       else
                         write_block<T>(loops, args, s, blocks, scratch, n, i);
                     });
  if (args.dgamma || args.dbeta || args.demb)
    launch("group_norm_bwd_parameters", s.channels,
           [&](std::int64_t c) { write_parameters<T>(args, s, scratch.sums, c); });
}

}  // namespace

std::size_t group_norm_bwd_blocks_workspace(const GroupNormBwdArgs& args) {
  const GroupNormSizes s(args);
  return Scratch(nullptr, s, Blocks(args, s)).bytes;
}

void group_norm_bwd_blocks(const GroupNormBwdArgs& args, void* workspace, Stream) {
  dispatch_f32_rows(args.dtype(), [&](auto zero) { run(loops_avx2().of(zero), args, workspace); });
}

void group_norm_bwd_blocks_avx512(const GroupNormBwdArgs& args, void* workspace, Stream) {
  dispatch_f32_rows(args.dtype(),
                    [&](auto zero) { run(loops_avx512().of(zero), args, workspace); });
}

}  // namespace tiller
