#pragma once
// What time and class say to the residual blocks of a network.
#include <cstdint>
#include <utility>

#include "autograd/ops.h"
#include "nn/torso.h"

namespace tiller {

/// Either the embedding, of which each residual block's emb_layers make scale and shift; or what all
/// of them have made of it, side by side. The second depends on no picture: sampling makes it for
/// every step at once, and a step is rid of one thin product per block.
struct Embedded {
  Embedded(const Var& embedding) : emb(embedding) {}  // NOLINT(google-explicit-constructor)
  static Embedded of_blocks(Tensor made) {
    Embedded all{Var()};
    all.blocks = std::move(made);
    return all;
  }
  Var emb;        // [N,E], or none
  Tensor blocks;  // [N,F], or none
};

/// A residual block among those of its network: its number, and where its part of [N,F] begins.
struct ResBlockPlace {
  std::uint32_t index = 0;
  std::int64_t at = 0;
};

/// Numbers the residual blocks as they are built.
class ResBlockPlaces {
 public:
  /// The place of the next block, of `out` channels.
  ResBlockPlace next(const TorsoConfig& torso, std::int64_t out) {
    const ResBlockPlace place{count_++, width_};
    width_ += torso.block_embedding_channels(out);
    return place;
  }
  /// F, the channels of all blocks so far.
  std::int64_t width() const { return width_; }

 private:
  std::uint32_t count_ = 0;
  std::int64_t width_ = 0;
};

}  // namespace tiller
