#include "tools/profile/recorder.h"

#include <charconv>
#include <limits>
#include <optional>
#include <string_view>

#include "runtime/backend.h"
#include "runtime/error.h"

namespace tiller {

int Names::id(const std::string& text) {
  const auto [at, fresh] = ids_.emplace(text, static_cast<int>(texts_.size()));
  if (fresh) texts_.push_back(text);
  return at->second;
}

StepWindow parse_steps(const std::string& text) {
  if (text.empty()) return {};
  const auto number = [](std::string_view part) -> std::optional<std::int64_t> {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc() || end != part.data() + part.size() || value < 0) return std::nullopt;
    return value;
  };
  const std::size_t colon = text.find(':');
  const std::string_view all(text);
  StepWindow window;
  if (colon == std::string::npos) {
    const auto step = number(all);
    window = {step.value_or(-1), step.value_or(-1) + 1};
  } else {
    const auto first = colon == 0 ? std::optional<std::int64_t>(0) : number(all.substr(0, colon));
    const auto last = colon + 1 == text.size() ? std::numeric_limits<std::int64_t>::max()
                                               : number(all.substr(colon + 1));
    if (first && last) window = {*first, *last};
  }
  if (window.first < 0 || window.last <= window.first)
    fail(ErrorKind::usage,
         fmt::format("--steps {}: steps count from 0: 2:5 is the third to the fifth, 2: all from "
                     "the third on, 2 the third alone",
                     text));
  return window;
}

void Recorder::on_op(const OpEvent& event) {
  if (!window_.contains(event.step)) {
    ++recording_.outside;
    return;
  }
  device_ = event.device;
  Names& names = recording_.names;
  std::string phase = event.phase;
  // A classifier's backward and the network's are told apart by the phase around them.
  if (std::string_view(event.within) != "" && std::string_view(event.within) != "forward")
    phase = fmt::format("{} {}", event.within, phase);
  recording_.ops.push_back({names.id(fmt::format("{}:{}", event.op, event.row)),
                            names.id(event.shape), names.id(event.module), names.id(phase),
                            event.cost, event.begin_ns, event.end_ns, event.step,
                            backend(event.device).memory().live});
}

}  // namespace tiller
