#pragma once
// The three linear maps of Winograd's F(4x4, 3x3) (Winograd 1980; Lavin & Gray, "Fast Algorithms
// for Convolutional Neural Networks", 2016). A 3x3 convolution of a 6x6 patch gives 4x4 outputs:
//
//   Y = A^T [ (G g G^T) * (B^T d B) ] A        * element by element
//
// 36 multiplications instead of 144. Its transpose is the weight gradient of a tile:
//
//   dg = G^T [ (A dY A^T) * (B^T d B) ] G
//
// In one dimension the maps evaluate polynomials at five points and at infinity. Ours are 0, +-3/4,
// +-3/2: with them the error is half of what the customary 0, +-1, +-2 give, since no entry is far
// from 1, and every entry of A and B is exact in binary.
//
// F(4x4, 2x2) has the same maps for 2x2 taps: a 5x5 patch, 25 multiplications instead of 64. It
// serves convolutions over an up-sampled image, whose four phases have four taps each
// (kernels/conv2d/taps.h). Its points are +-1/2, +-5/4 and infinity, and its error half again.
//
// This header is compiled once per instruction set, so it includes nothing that could be shared.
#include <cstdint>

namespace tiller {

constexpr int kWinogradTile = 4;       ///< outputs of a tile, down and across
constexpr int kWinogradPatch = 6;      ///< inputs that they need, down and across, of 3 taps
constexpr int kWinogradProducts = 36;  ///< elements of the transformed patch

/// Where the transformed patches of one tile of the micro-kernel's rows go: as its strips, `strip`
/// floats apart, hold them (kernels/gemm/microkernel.h), and `product` floats from one of the 36
/// products to the next.
struct WinogradStrips {
  float* to;
  std::int64_t product, strip;
};

/// The maps for 3x3 or 2x2 taps: in what follows 36 stands for 25, and 9 for 4, with the latter.
struct WinogradTransforms {
  int taps;  ///< down and across
  int patch() const { return kWinogradTile + taps - 1; }
  int products() const { return patch() * patch(); }

  /// B^T d B for `channels` channels: `pixels` are the patch's 36 pixels, row by row. Element e of
  /// channel c goes where channel `first` + c of the product belongs.
  void (*input)(const float* const* pixels, std::int64_t channels, std::int64_t first,
                const WinogradStrips& strips);
  /// A^T m A for `columns` columns (a multiple of the vector length): element e is read from
  /// from[e * stride + column], pixel p of the 4x4 goes to to[p * columns + column].
  void (*output)(const float* from, std::int64_t stride, std::int64_t columns, float* to);
  /// A dY A^T for `channels` channels: `pixels` are dY's 16 pixels, row by row. Element e of channel
  /// c goes to to[e * product + c], the sum of the pixels to sum[c].
  void (*output_gradient)(const float* const* pixels, std::int64_t channels, float* to,
                          std::int64_t product, float* sum);
  /// G g G^T in f32 for `count` filters side by side (a multiple of the vector length): tap t, or
  /// 8 - t when `reversed`, is read from taps[t * stride + filter], element e goes to
  /// to[e * product + filter].
  void (*weight)(const float* taps, std::int64_t stride, bool reversed, std::int64_t count,
                 float* to, std::int64_t product);
};

const WinogradTransforms& winograd_transforms_avx2(int taps);  ///< 3 or 2
const WinogradTransforms& winograd_transforms_avx512(int taps);

constexpr int kWinogradFilters = 8;  ///< transformed side by side
/// G^T m G in double, of 3 or 2 `count` taps down and across: the filters' gradient.
void winograd_weight_gradients(int count,
                               const float (&products)[kWinogradProducts][kWinogradFilters],
                               float (&taps)[9][kWinogradFilters]);

}  // namespace tiller
