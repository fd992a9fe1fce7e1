#pragma once
// The noise schedule: beta_t for t = 0 .. T-1, in f64 until it meets a tensor.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace tiller {

/// Betas that follow a curve alpha_bar(u), u in [0, 1]: beta_t = min(1 - alpha_bar((t+1)/T) /
/// alpha_bar(t/T), max_beta) (Nichol & Dhariwal 2021, section 3.2).
std::vector<double> betas_for_alpha_bar(std::int64_t steps,
                                        const std::function<double(double)>& alpha_bar,
                                        double max_beta);

/// guided-diffusion's --noise_schedule: "linear" (Ho et al. 2020, scaled so that any T ends at the
/// same noise: 1000/T * [1e-4, 2e-2]) or "cosine" (Nichol & Dhariwal 2021, eq. 17, capped at
/// 0.999). Throws Error(usage) for another name, for fewer than one step, and for a linear schedule
/// so short that a beta exceeds 1 (under 20 steps).
std::vector<double> named_beta_schedule(const std::string& name, std::int64_t steps);

/// The original steps that a respaced process keeps, ascending: guided-diffusion's
/// --timestep_respacing. "" keeps all; "250" takes that many, evenly; "90,60,60,20,20" splits the
/// range into equal sections and takes that many from each; "ddim25" takes every (T/25)th, and
/// throws Error(usage) naming the nearest N that works when no whole stride gives that count.
std::vector<std::int64_t> space_timesteps(std::int64_t steps, const std::string& respacing);

/// The betas of the process that visits only the kept steps: beta_i = 1 - abar(kept_i) /
/// abar(kept_i-1).
std::vector<double> respaced_betas(const std::vector<double>& betas,
                                   const std::vector<std::int64_t>& kept);

}  // namespace tiller
