#pragma once
// From the numbers of one or more runs to charts: which keys share a chart, and how they are
// smoothed.
#include <string>
#include <vector>

#include "tools/plot/chart.h"
#include "tools/plot/progress_log.h"

namespace tiller {

struct CurveOptions {
  /// As they stand in the file, or "loss" for all its kinds; empty: all.
  std::vector<std::string> keys = {};
  std::string x = "step";  ///< the key of the horizontal axis, where a run has it
  double smooth = 0;       ///< weight of what came before, 0 <= smooth < 1; 0: none
  bool log_y = false;
};

/// The charts of some runs: one a quantity, with train_ and val_ in one, and the quarters of the
/// timesteps (_q0 .. _q3) in a second beside it. One run's curves differ by colour; several runs'
/// colours are theirs. A smoothed curve has the unsmoothed one behind it, paler; lr and
/// lg_loss_scale stay as they are. Throws Error(usage) for a key that no run has, naming those
/// there are.
std::vector<Chart> make_charts(const std::vector<ProgressLog>& runs, const CurveOptions& options);

/// Averages with weights that fall by `weight` a step, over the numbers seen so far (Kingma & Ba
/// 2015, section 3: the correction of the start); what is not finite is passed over and stays.
std::vector<double> smoothed(const std::vector<double>& values, double weight);

/// All charts on one page, two beside each other.
void draw_charts(Canvas& canvas, const std::vector<Chart>& charts);
/// Its size.
struct PageSize {
  int width, height;
};
PageSize page_size(std::size_t charts);

}  // namespace tiller
