#include "tools/sampling/process.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "diffusion/schedule.h"

namespace tiller {

namespace {

// A diffusion flag by guided-diffusion's rules of precedence, as text.
class Choice {
 public:
  Choice(const Flags& flags, const Inference& unet, std::vector<std::string>& notes)
      : flags_(flags), hints_(unet.diffusion), notes_(notes) {}

  std::string operator()(const std::string& flag) {
    const auto hint = hints_.find(flag);
    if (flags_.given(flag)) {
      const std::string given = flags_.text(flag);
      if (hint != hints_.end() && hint->second != given)
        notes_.push_back(fmt::format("--{} {} as given; the checkpoint was trained with {}", flag,
                                     given, hint->second));
      return given;
    }
    if (hint != hints_.end()) return hint->second;
    return flags_.text(flag);
  }
  bool flag(const std::string& name) {
    const std::string text = (*this)(name);
    return text == "True" || text == "true" || text == "1";
  }
  bool known(const std::string& flag) const { return flags_.given(flag) || hints_.contains(flag); }

 private:
  const Flags& flags_;
  const DiffusionHints& hints_;
  std::vector<std::string>& notes_;
};

std::int64_t to_steps(const std::string& text) {
  try {
    return std::stoll(text);
  } catch (const std::exception&) {
    fail(ErrorKind::checkpoint,
         fmt::format("the checkpoint says diffusion_steps \"{}\", which is no number; give "
                     "--diffusion_steps",
                     text));
  }
}

struct PublishedScale {
  const char* model;
  double ddpm, ddim;
};

// The paper has no DDIM at 64 pixels and none for the unconditional model: DDPM's serves.
constexpr PublishedScale kScales[] = {
    {"64x64_diffusion", 1.0, 1.0},   {"128x128_diffusion", 0.5, 1.25},
    {"256x256_diffusion", 1.0, 2.5}, {"256x256_diffusion_uncond", 10.0, 10.0},
    {"512x512_diffusion", 4.0, 9.0},
};

// abar of the whole process with this schedule.
std::vector<double> abar(const std::string& schedule, std::int64_t steps) {
  return Coefficients(named_beta_schedule(schedule, steps)).alphas_cumprod;
}

}  // namespace

Process process_of(const Flags& flags, const Inference& unet) {
  Process process;
  Choice choice(flags, unet, process.notes);
  const bool learn_sigma = unet.unet.out_channels == 2 * unet.unet.in_channels;
  process.config = diffusion_config(to_steps(choice("diffusion_steps")), choice("noise_schedule"),
                                    flags.get<std::string>("timestep_respacing"), learn_sigma,
                                    choice.flag("sigma_small"), choice.flag("use_kl"),
                                    choice.flag("predict_xstart"), choice.flag("rescale_timesteps"),
                                    choice.flag("rescale_learned_sigmas"));
  std::string assumed;
  for (const char* flag : {"noise_schedule", "diffusion_steps", "rescale_timesteps"})
    if (!choice.known(flag))
      assumed += fmt::format("{}--{} {}", assumed.empty() ? "" : " ", flag, flags.text(flag));
  if (!assumed.empty())
    process.notes.push_back(fmt::format(
        "the checkpoint does not tell its diffusion process: assumed {}; a wrong one gives noise",
        assumed));
  return process;
}

ScaleAdvice recommended_scale(const std::string& published, bool ddim) {
  const std::string model = published.substr(0, published.find(','));  // the first is assumed
  for (const PublishedScale& known : kScales)
    if (model == known.model)
      return {ddim ? known.ddim : known.ddpm,
              fmt::format("{}'s for {}", known.model, ddim ? "DDIM" : "DDPM")};
  return {1, "the default"};
}

std::string schedule_mismatch(const GaussianDiffusion& diffusion,
                              const DiffusionHints& classifier) {
  const auto value = [&](const char* flag) -> std::optional<std::string> {
    const auto found = classifier.find(flag);
    return found == classifier.end() ? std::nullopt : std::optional(found->second);
  };
  const auto schedule = value("noise_schedule");
  const auto steps = value("diffusion_steps");
  if (!schedule || !steps) return {};
  const std::int64_t count = to_steps(*steps);
  const bool rescaled = value("rescale_timesteps") == "True";
  const std::vector<double> theirs = abar(*schedule, count);
  double worst = 0;
  std::int64_t where = 0;
  for (std::int64_t step = 0; step < diffusion.steps(); ++step) {
    const double seen = diffusion.timestep(step);
    const double t = rescaled ? seen * static_cast<double>(count) / 1000 : seen;
    const auto index = std::clamp<std::int64_t>(std::llround(t), 0, count - 1);
    const double ours = diffusion.coefficients().alphas_cumprod[static_cast<std::size_t>(step)];
    const double difference = std::abs(ours - theirs[static_cast<std::size_t>(index)]);
    if (difference <= worst) continue;
    worst = difference;
    where = step;
  }
  if (worst < 0.01) return {};
  const auto& config = diffusion.config();
  return fmt::format(
      "the classifier was trained with --noise_schedule {} --diffusion_steps {}, the diffusion "
      "network runs with {} and {}: at timestep {:g} they differ by {:.2f} in alpha_bar, so the "
      "classifier sees another noise level than it knows",
      *schedule, *steps, config.noise_schedule, config.diffusion_steps, diffusion.timestep(where),
      worst);
}

std::string blind_start(const GaussianDiffusion& diffusion, bool ddim) {
  constexpr double kLeast = 1e-6;  // the linear schedule ends at 4e-5
  const double abar = diffusion.coefficients().alphas_cumprod.back();
  if (!ddim || abar >= kLeast) return {};
  return fmt::format(
      "guided DDIM begins at timestep {:g}, where alpha_bar is {:.1e}: there the gradient moves "
      "the "
      "predicted picture by {:.0f} times itself, and colours may be driven to their ends. Take "
      "--timestep_respacing ddimN (ddim50), or leave out --use_ddim",
      diffusion.timestep(diffusion.steps() - 1), abar, (1 - abar) / std::sqrt(abar));
}

std::string in_words(const GaussianDiffusion& diffusion, bool ddim, double eta) {
  const auto& config = diffusion.config();
  return fmt::format("{}, {} of {} steps, {} schedule{}",
                     ddim ? fmt::format("DDIM with eta {:g}", eta) : "DDPM", diffusion.steps(),
                     config.diffusion_steps, config.noise_schedule,
                     config.rescale_timesteps ? ", timesteps rescaled to 1000" : "");
}

}  // namespace tiller
