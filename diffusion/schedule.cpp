#include "diffusion/schedule.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <string_view>

#include "runtime/error.h"

namespace tiller {

std::vector<double> betas_for_alpha_bar(std::int64_t steps,
                                        const std::function<double(double)>& alpha_bar,
                                        double max_beta) {
  std::vector<double> betas;
  const double n = static_cast<double>(steps);
  for (std::int64_t i = 0; i < steps; ++i) {
    const double t1 = static_cast<double>(i) / n;
    const double t2 = static_cast<double>(i + 1) / n;
    betas.push_back(std::min(1 - alpha_bar(t2) / alpha_bar(t1), max_beta));
  }
  return betas;
}

namespace {

std::vector<double> linear_betas(std::int64_t steps) {
  const double scale = 1000.0 / static_cast<double>(steps);
  const double first = scale * 0.0001;
  const double last = scale * 0.02;
  if (last > 1)
    fail(ErrorKind::usage,
         fmt::format(
             "--noise_schedule linear with --diffusion_steps {} has betas over 1; use at least "
             "20 steps, or --noise_schedule cosine",
             steps));
  std::vector<double> betas;
  // As numpy's linspace: start + i * step, with the end set exactly.
  const double step = steps > 1 ? (last - first) / static_cast<double>(steps - 1) : 0;
  for (std::int64_t i = 0; i < steps; ++i) betas.push_back(static_cast<double>(i) * step + first);
  if (steps > 1) betas.back() = last;
  return betas;
}

// A count of steps in a --timestep_respacing.
std::int64_t parse_count(std::string_view text, std::string_view whole) {
  std::int64_t n = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n < 0)
    fail(ErrorKind::usage,
         fmt::format(
             "--timestep_respacing \"{}\": \"{}\" is not a number of steps; use a count (250), "
             "counts for equal sections (90,60,60,20,20) or ddimN (ddim25)",
             whole, text));
  return n;
}

std::vector<std::int64_t> ddim_steps(std::int64_t steps, std::int64_t count,
                                     std::string_view whole) {
  const auto length = [&](std::int64_t stride) { return (steps + stride - 1) / stride; };
  std::int64_t nearest = steps;
  for (std::int64_t stride = 1; stride <= steps; ++stride) {
    if (length(stride) == count) {
      std::vector<std::int64_t> kept;
      for (std::int64_t t = 0; t < steps; t += stride) kept.push_back(t);
      return kept;
    }
    if (std::abs(length(stride) - count) < std::abs(nearest - count)) nearest = length(stride);
  }
  fail(ErrorKind::usage,
       fmt::format(
           "--timestep_respacing {}: no whole stride takes {} of {} steps; the nearest that works "
           "is ddim{}",
           whole, count, steps, nearest));
}

}  // namespace

std::vector<double> named_beta_schedule(const std::string& name, std::int64_t steps) {
  if (steps < 1)
    fail(ErrorKind::usage, fmt::format("--diffusion_steps {}: at least one step is needed", steps));
  if (name == "linear") return linear_betas(steps);
  if (name == "cosine")
    return betas_for_alpha_bar(
        steps,
        [](double t) {
          const double c = std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2);
          return c * c;
        },
        0.999);
  fail(ErrorKind::usage,
       fmt::format("--noise_schedule \"{}\" is unknown: use linear or cosine", name));
}

std::vector<std::int64_t> space_timesteps(std::int64_t steps, const std::string& respacing) {
  std::string_view rest = respacing;
  if (rest.starts_with("ddim")) {
    const std::int64_t count = parse_count(rest.substr(4), respacing);
    if (count >= 1) return ddim_steps(steps, count, respacing);
    fail(ErrorKind::usage, fmt::format("--timestep_respacing {}: takes no step", respacing));
  }
  std::vector<std::int64_t> counts;
  if (respacing.empty()) {
    counts.push_back(steps);
  } else {
    for (;;) {
      const std::size_t comma = rest.find(',');
      counts.push_back(parse_count(rest.substr(0, comma), respacing));
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  const auto sections = static_cast<std::int64_t>(counts.size());
  std::vector<std::int64_t> kept;
  std::int64_t start = 0;
  for (std::int64_t i = 0; i < sections; ++i) {
    const std::int64_t size = steps / sections + (i < steps % sections ? 1 : 0);
    const std::int64_t count = counts[static_cast<std::size_t>(i)];
    if (size < count)
      fail(ErrorKind::usage,
           fmt::format("--timestep_respacing {}: cannot divide section of {} steps into {}",
                       respacing, size, count));
    const double stride =
        count <= 1 ? 1 : static_cast<double>(size - 1) / static_cast<double>(count - 1);
    double position = 0;
    for (std::int64_t k = 0; k < count; ++k) {
      // Python's round: half to even, on a sum that accumulates rounding as the original's does.
      kept.push_back(start + static_cast<std::int64_t>(std::nearbyint(position)));
      position += stride;
    }
    start += size;
  }
  std::sort(kept.begin(), kept.end());
  kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
  if (kept.empty())
    fail(ErrorKind::usage, fmt::format("--timestep_respacing {}: takes no step", respacing));
  return kept;
}

std::vector<double> respaced_betas(const std::vector<double>& betas,
                                   const std::vector<std::int64_t>& kept) {
  std::vector<double> out;
  double cumulative = 1, last = 1;
  std::size_t next = 0;
  for (std::size_t t = 0; t < betas.size() && next < kept.size(); ++t) {
    cumulative *= 1 - betas[t];
    if (static_cast<std::size_t>(kept[next]) != t) continue;
    out.push_back(1 - cumulative / last);
    last = cumulative;
    ++next;
  }
  return out;
}

}  // namespace tiller
