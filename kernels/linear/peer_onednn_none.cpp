#include "kernels/linear/peer.h"

namespace tiller {

std::span<const Row<LinearFwdArgs>> linear_fwd_peers() { return {}; }
std::span<const Row<LinearDgradArgs>> linear_dgrad_peers() { return {}; }
std::span<const Row<LinearWgradArgs>> linear_wgrad_peers() { return {}; }

}  // namespace tiller
