#pragma once
// From networks to pictures in a folder: the loop that `tiller sample` and `tiller upsample` share.
#include <functional>
#include <string>
#include <vector>

#include "tools/network.h"
#include "tools/sampling/draws.h"
#include "tools/sampling/writer.h"

namespace tiller {

/// All that a run is. Pointers must outlive it.
struct SamplingRun {
  const Network* unet = nullptr;
  const Network* classifier = nullptr;  ///< null: unguided
  double scale = 1;
  const GaussianDiffusion* diffusion = nullptr;
  SampleOptions sampler;
  Draws* draws = nullptr;
  Shape picture;  ///< [H,W,C]
  std::int64_t first_index = 0, count = 1, batch_size = 1;
  std::int64_t preview_every = 0;  ///< steps between previews; 0: none
  std::string folder;              ///< for messages
  /// The classes of samples first .. first + n - 1 (called once per batch, before its noise), or
  /// empty where the networks take none.
  std::function<std::vector<std::int64_t>(std::int64_t first, std::int64_t n)> labels;
  /// Super-resolution: the small pictures of these samples, f32 [n,h,w,C].
  std::function<Tensor(std::int64_t first, std::int64_t n)> low_res;
};

/// Samples batch by batch, each picture written as soon as it is finished, with progress on stderr.
/// Returns the paths of the npz and the grid. Throws Error: `interrupted` after SIGINT or SIGTERM,
/// `failed` when a network's numbers are no longer finite (with step, module and likely cause) or a
/// file cannot be written; whatever was finished stays, and the message says how to go on.
std::vector<std::string> run_sampling(const SamplingRun& run, SampleWriter& writer);

}  // namespace tiller
