#include "kernels/conv2d/winograd_transforms_body.h"

namespace tiller {

const WinogradTransforms& winograd_transforms_avx2(int taps) { return transforms_of<8>(taps); }

}  // namespace tiller
