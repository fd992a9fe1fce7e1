#include "kernels/conv2d/winograd_transforms_body.h"

namespace tiller {

const WinogradTransforms& winograd_transforms_avx512(int taps) { return transforms_of<16>(taps); }

}  // namespace tiller
