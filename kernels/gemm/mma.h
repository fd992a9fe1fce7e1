#pragma once
// What the tensor-core kernels are launched with. One implicit GEMM serves convolutions forward,
// their data gradient (a forward on other weights) and fully connected layers (1x1, one row of
// pixels); another, which sums over pixels, serves the weight gradients of all of them.
#include "kernels/conv2d/kernels.h"

namespace tiller {
inline namespace TILLER_DEVICE {

/// A group norm between x0 and the product, which has one tap then: x0 becomes
/// T((x0 - mean) rstd gamma + beta).
struct MmaNorm {
  const float* moments;       // [N,C,2] ready mean and squared deviations over a sample's pixels;
                              // null: no norm
  const float *gamma, *beta;  // [C]
  float* mean_rstd;           // [N,G,2] out
  int pixels, groups;         // rows of a sample, and groups of channels
  float eps;
};

struct MmaParams {
  ConvShape z;                     // z.pad is not used: the two sides may differ
  int pad_h, pad_w;                // rows above and columns left of the input, also negative
  View x0, x1, skip0, skip1;       // sources, dense in 16-byte vectors
  const void* w;                   // [K,R*S*C] of x's dtype
  const void* skip_w;              // [K,skip_c] or null
  View bias, skip_bias, residual;  // absent ones have no data
  View y0, y1;                     // channels [0,split) and [split,K); y1 may be absent
  int split;
  bool residual_up2x;
  bool quads;  // y and residual can be reached in vectors of four elements
  // Pixel (p,q) of z stands at (p * out_stride + out_p, q * out_stride + out_q) of out_h x out_w.
  int out_stride, out_p, out_q, out_h, out_w;
  int splits;                      // parts of the sum; more than one: v4_split_k.cuh
  float* partial;                  // [tiles][splits][results of a tile]
  std::uint32_t* part_counters;    // [tiles]
  float* stats;                    // [N,K,2] mean and squared deviations, or null: tile_moments.cuh
  int most_shares;                 // tiles that have rows of one sample
  float* shares;                   // [N,most_shares,K,2] if there are several
  std::uint32_t* sample_counters;  // [N][tiles across K]
  MmaNorm norm;                    // or absent; only of mma_normed_product()
};

/// Launches the tiles of one product.
template <int kRows, int kWidth>
void mma_product(const MmaParams& params, Stream stream);
/// The same behind a group norm: halves, samples of whole kNormRows rows, at most kNormChannels
/// channels in whole vectors.
template <int kRows, int kWidth>
void mma_normed_product(const MmaParams& params, Stream stream);
inline constexpr int kNormRows = 64, kNormChannels = 1024;

/// Moments of a product come sixteen rows at a time: only of samples that are whole sixteens.
inline constexpr int kPieceRows = 16;
/// How many tiles of `rows` rows may have some of a sample's.
inline std::int64_t most_shares(std::int64_t pixels, int rows) {
  if (pixels % rows == 0) return pixels / rows;
  return rows % pixels == 0 ? 1 : (pixels + rows - 2) / rows + 1;
}

/// Weights as the products want them.
enum class WeightForm : std::uint8_t {
  forward,  ///< [K,R,S,C], as stored
  phase,    ///< [C,rows,columns,K]: the taps phase + stride * i, in reverse. Stride 1: all of them
  up2x,     ///< [C,R+1,S+1,K]: taps of the data gradient through an up-sampling, summed where two
            ///< copies of a pixel meet the same element of dy
};

/// Forms of a weight [K,R,S,C]: rounded to `to`'s dtype, the last dimension padded with zeros.
struct WeightParams {
  View from;
  View to;  // forward: [K,rows,columns,padded C]; else [C,rows,columns,padded K]
  int k, r, s, c;
  int rows, columns, padded;
  WeightForm form;
  int stride, phase_r, phase_s;  // of WeightForm::phase
};
void weight_form(const WeightParams& params, Stream stream);

/// to[row,:] = x0[row,:], x1[row,:], zeros: channels that a vector does not divide, or that start
/// between vectors.
struct PadParams {
  View x0, x1, to;
};
void pad_channels(const PadParams& params, Stream stream);

struct MmaWgradParams {
  ConvShape z;         // c, c0 and k as x0, x1 and dy have them: perhaps padded
  View x0, x1, dy;     // dense in 16-byte vectors
  float *dw, *dbias;   // [k,R*S*c] and [k] or null
  int k, c;            // of dw
  bool pairs;          // dw can be written in pairs
  int chunk, splits;   // pixels of a part, and parts; more than one: their sums go to `partial`
  float* partial;      // [splits][k*R*S*c, k, perhaps one more]
  std::int64_t pitch;  // of partial: even
};
template <int kTile>
void mma_wgrad(const MmaWgradParams& params, Stream stream);
/// Adds the parts in pairs, in a fixed order.
void wgrad_merge(const MmaWgradParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
