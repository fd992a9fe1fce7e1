#pragma once
// The three kinds of file that guided-diffusion's loops write at a save: model{step}.pt,
// ema_{rate}_{step}.pt, opt{step}.pt.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/training/trainer.h"

namespace tiller {

/// 0.9999 as Python prints it: how a rate stands in a file's name.
std::string rate_in_name(double rate);

std::string model_file(const std::string& folder, std::int64_t step);
std::string ema_file(const std::string& folder, double rate, std::int64_t step);
std::string optimizer_file(const std::string& folder, std::int64_t step);

/// The step in a file's name: the digits behind its last "model". None where there are none.
std::optional<std::int64_t> step_in_name(const std::string& path);

/// The optimizer's state in PyTorch's order: an entry per parameter or, with `flat` (guided-diffusion
/// with use_fp16), two: all vectors in one row, then all matrices as [1,n].
OptimizerFile to_optimizer_file(const AdamW& optimizer, const ParameterList& parameters,
                                double weight_decay, double rate, bool flat);
/// And back, from either form. Throws Error(checkpoint) when it does not fit the parameters.
AdamW::State from_optimizer_file(const OptimizerFile& file, const ParameterList& parameters,
                                 const std::string& path);

/// Writes the files of `step`. Returns their paths.
std::vector<std::string> write_openai_files(const std::string& folder, std::int64_t step,
                                            const Trainer& trainer, bool flat);

/// Takes averages and moments from the files beside `model_path`, whose weights the network has
/// already. Returns lines for the user: what was missing, and where the file's settings differ from
/// the flags, which win.
std::vector<std::string> read_openai_files(const std::string& model_path, Trainer& trainer);

}  // namespace tiller
