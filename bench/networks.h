#pragma once
// The shapes to measure are those that the published networks use: each is built on meta and run,
// and its calls are written down. No table of shapes is typed in.
#include <string>
#include <vector>

#include "bench/case.h"

namespace tiller::bench {

/// Which passes of a network: forward; guidance (a classifier's forward and input gradient);
/// training (forward, all gradients, the optimizer).
enum class Pass : std::uint8_t { forward, guidance, training };
const char* name(Pass pass);
/// Throws Error(usage) for a word that is no pass.
Pass parse_pass(const std::string& word);

/// Names for --model: every known model's.
std::vector<std::string> model_names();

/// Runs one pass of a known model on meta at batch `batch`, its torso in `torso`, and adds its
/// calls to `cases`. A pass that the model does not have (guidance of a UNet) adds none. Throws
/// Error(usage) for an unknown name.
void collect(const std::string& model, Pass pass, std::int64_t batch, DType torso, Cases& cases);

}  // namespace tiller::bench
