#include "kernels/conv2d/winograd_transforms_body.h"

namespace tiller {

const WinogradTransforms& winograd_transforms_avx2() { return kTransforms<8>; }

}  // namespace tiller
