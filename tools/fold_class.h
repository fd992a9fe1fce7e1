#pragma once
#include <string>

#include "runtime/files/checkpoint.h"
#include "tools/flags/flags.h"

namespace tiller {

/// A class-conditional UNet with one class settled for good: an unconditional network.
///
/// The network sees a class only as time_embed(t) + label_emb(y) (guided-diffusion's unet.py), so
/// that class `wanted`'s row of label_emb.weight, added to time_embed.2.bias, is the same function of
/// x and t but for rounding. A network trained with --class_drop holds a class "none": with that one
/// settled, its unconditional half comes out. `wanted` is a name (metadata tiller.classes) or a
/// number. Throws Error(usage) for an unknown class, Error(checkpoint) for a network without
/// classes.
Checkpoint fold_class(const Checkpoint& checkpoint, const std::string& wanted, const Flags& flags);

}  // namespace tiller
