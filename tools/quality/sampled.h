#pragma once
// The samples of all guidance scales: those that lie there already, and the rest drawn.
#include <functional>
#include <string>
#include <vector>

#include "tools/quality/sample_cache.h"
#include "tools/sampling/draw.h"

namespace tiller::quality {

/// What is wanted, and where it is kept.
struct SampledOptions {
  std::string folder;        ///< of samples_scale_S.npz
  Settings settings;         ///< of all scales; the scale and the guide are added to them
  std::string guide;         ///< the guide's fingerprint, a setting where the scale is not 0
  std::int64_t count = 1;    ///< samples of each scale
  std::int64_t batch = 1;    ///< drawn at a time; samples do not depend on it
  std::int64_t classes = 1;  ///< asked for in turn
};

/// Draws what is missing and keeps it: all minutes or so, when a scale is complete, and when
/// something stops it (Ctrl-C, a full disk elsewhere). A rerun goes on behind the last sample kept;
/// a larger count draws only the difference.
class SampledScales {
 public:
  /// Reads what there is. Throws as read_samples().
  SampledScales(const std::vector<double>& scales, SampledOptions options);
  /// Samples still to be drawn, of all scales.
  std::int64_t missing() const;
  /// The samples of scales[i], in number options.count. `drawer`'s scale is set here;
  /// `on_step(done)` receives the steps of single pictures done since the construction, and may
  /// throw.
  SampleFile take(std::size_t i, Drawer drawer, const std::function<void(std::int64_t)>& on_step);

 private:
  std::string path(std::size_t i) const;
  Settings settings(std::size_t i) const;
  std::vector<double> scales_;
  SampledOptions options_;
  std::vector<SampleFile> kept_;
  std::int64_t drawn_ = 0;
};

}  // namespace tiller::quality
