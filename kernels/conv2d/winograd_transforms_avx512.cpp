#include "kernels/conv2d/winograd_transforms_body.h"

namespace tiller {

const WinogradTransforms& winograd_transforms_avx512() { return kTransforms<16>; }

}  // namespace tiller
