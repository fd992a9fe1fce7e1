#pragma once
// How long a step will take, said before the first one is taken.
#include <cstdint>
#include <string>

#include "tools/report/plan.h"

namespace tiller {

/// What a device reaches on work like a network's.
struct Speed {
  double flops_per_second = 0;  ///< of a 3x3 convolution
  double bytes_per_second = 0;  ///< of an addition of large arrays, read and written
};

/// Runs a convolution in `dtype` over up to `batch` pictures, and an addition, again and again: a
/// fifth of a second in all. Other programs on the machine slow it as they will slow the steps.
Speed measure_speed(Device device, DType dtype, std::int64_t batch);

/// The seconds of one pass: every call takes the time of its arithmetic or of its bytes, whichever
/// is longer (Williams et al. 2009's roofline, with roofs that were measured low: on real kernels).
double seconds_of(const PassPlan& pass, const Speed& speed);

/// The seconds of a step: `passes` microbatches, and an optimizer that reads and writes `parameters`
/// numbers with two moments and `averages` averages.
double seconds_of_step(const PassPlan& pass, std::int64_t passes, std::int64_t parameters,
                       std::int64_t averages, const Speed& speed);

/// "about 1.2 s a step, ..., 500 steps take 10:00 (an estimate ...)". steps 0: no end is known.
std::string time_in_words(double seconds, const Speed& speed, std::int64_t steps);

}  // namespace tiller
