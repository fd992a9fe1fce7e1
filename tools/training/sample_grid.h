#pragma once
// What a network in training draws: the sheet of pictures beside each checkpoint.
#include <cstdint>
#include <vector>

#include "diffusion/gaussian_diffusion.h"
#include "nn/config.h"
#include "nn/scope.h"

namespace tiller {

struct GridOptions {
  std::int64_t count = 8;
  std::int64_t steps = 10;   ///< of DDIM
  std::uint64_t seed = 0;    ///< the same noise at every save, so that sheets can be compared
  std::int64_t classes = 0;  ///< picture i is of class i modulo this; 0: the network takes none
  Tensor low_res{};          ///< [count,s,s,C] for super-resolution
};

/// A network that borrows the values of `weights` (a list of its parameters' names), so that an
/// average can draw without a copy.
class BorrowedParameters final : public ParameterSource {
 public:
  explicit BorrowedParameters(const ParameterList& weights) : weights_(weights) {}
  Tensor get(const std::string& key, const Shape& shape,
             const std::vector<std::int64_t>& file_shape, FileLayout layout,
             const Init& init) override;

 private:
  const ParameterList& weights_;
};

/// Draws with `weights` in a network of `config`: f32 [count,S,S,C], clamped to [-1, 1] on the way.
/// Takes no random number that the training takes.
Tensor draw_grid(const UNetConfig& config, const ParameterList& weights, DiffusionConfig process,
                 const GridOptions& options);

}  // namespace tiller
