#include "nn/block.h"

namespace tiller {

void Block::embed(const Var& emb, const Tensor& all) const {
  for (const Layer& layer : layers_)
    if (const auto* block = std::get_if<ResBlock>(&layer)) block->embed(emb, all);
}

Activation Block::forward(const Activation& x, const Activation& skip, const Embedded& emb) const {
  Activation h = x, second = skip;
  for (const Layer& layer : layers_) {
    h = std::visit(
        [&](const auto& l) -> Activation {
          using L = std::decay_t<decltype(l)>;
          if constexpr (std::is_same_v<L, ResBlock>)
            return l(h, second, emb);
          else if constexpr (std::is_same_v<L, Conv2d>)
            return l(h.x, second.x);
          else
            return l(h);
        },
        layer);
    second = {};
  }
  return h;
}

}  // namespace tiller
