#include "autograd/gradcheck.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "autograd/ops.h"
#include "runtime/random.h"

namespace tiller {

namespace {

// A dense copy whose elements may be written, one at a time.
class Probe {
 public:
  explicit Probe(const Tensor& t) : tensor(t.clone()) {}
  double get(std::int64_t i) const { return tensor.data<double>()[i]; }
  void set(std::int64_t i, double value) {
    tensor.data<double>()[i] = value;
    tensor.bump_version();  // forms derived from the old value must not be used
  }
  const Tensor tensor;
};

// The elements to look at: all, or max_elements different ones.
std::vector<std::int64_t> drawn(std::int64_t count, std::size_t input,
                                const GradcheckOptions& options) {
  std::vector<std::int64_t> elements(static_cast<std::size_t>(count));
  std::iota(elements.begin(), elements.end(), 0);
  if (options.max_elements <= 0 || count <= options.max_elements) return elements;
  // The first steps of a Fisher-Yates shuffle.
  const RandomKey key{options.seed, static_cast<std::uint32_t>(input), 1, RandomStream::loader};
  std::vector<float> uniform(static_cast<std::size_t>(options.max_elements));
  philox_uniform(key, options.max_elements, uniform.data());
  for (std::size_t i = 0; i < uniform.size(); ++i) {
    const auto left = static_cast<double>(elements.size() - i);
    std::swap(elements[i], elements[i + static_cast<std::size_t>(left * uniform[i])]);
  }
  elements.resize(uniform.size());
  std::sort(elements.begin(), elements.end());
  return elements;
}

double error_of(double analytic, double numeric, double floor) {
  const double difference = std::abs(analytic - numeric);
  if (difference == 0) return 0;
  const double error = difference / std::max({std::abs(analytic), std::abs(numeric), floor});
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

}  // namespace

GradcheckReport gradcheck(const GradcheckFunction& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options) {
  std::vector<Probe> probes;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    TILLER_CHECK(
        inputs[i].defined() && inputs[i].dtype() == DType::f64 && inputs[i].device() == kCpu,
        "gradcheck: input {} is {}, not f64 on the CPU", i, to_string(inputs[i]));
    probes.emplace_back(inputs[i]);
  }

  Gradients gradients;
  std::vector<double> dy;
  {
    Tape tape;
    Var y;
    {
      const TapeGuard guard(tape);
      std::vector<Var> leaves;
      for (const Probe& probe : probes) leaves.push_back(tape.watch(probe.tensor));
      y = f(leaves);
    }
    TILLER_CHECK(y.dtype() == DType::f64, "gradcheck: the function returned {}, not f64",
                 to_string(y.value()));
    std::vector<float> normal(static_cast<std::size_t>(y.shape().numel()));
    philox_normal({options.seed, 0, 0, RandomStream::init}, y.shape().numel(), normal.data());
    dy.assign(normal.begin(), normal.end());
    tape.backward(y, Tensor::from(dy, y.shape()), gradients);
  }
  // sum(f * dy), in more than f64: its rounding is divided by the step.
  const auto value = [&] {
    const NoGrad no_recording;
    std::vector<Var> constants;
    for (const Probe& probe : probes) constants.emplace_back(probe.tensor);
    const std::vector<double> y = f(constants).value().to_vector<double>();
    long double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += static_cast<long double>(y[i]) * dy[i];
    return sum;
  };

  GradcheckReport report;
  report.tolerance = options.tolerance;
  for (std::size_t i = 0; i < probes.size(); ++i) {
    Probe& probe = probes[i];
    const Tensor gradient = gradients.of(probe.tensor);  // none: f does not depend on this input
    const std::vector<double> analytic =
        gradient.defined()
            ? gradient.to_vector<double>()
            : std::vector<double>(static_cast<std::size_t>(probe.tensor.numel()), 0.0);
    const std::vector<std::int64_t> elements = drawn(probe.tensor.numel(), i, options);
    std::vector<double> numeric;
    double squares = 0;
    for (const std::int64_t e : elements) {
      const double x = probe.get(e), above = x + options.step, below = x - options.step;
      probe.set(e, above);
      const long double high = value();
      probe.set(e, below);
      const long double low = value();
      probe.set(e, x);
      // above - below, not 2 step: x + step was rounded.
      numeric.push_back(static_cast<double>((high - low) / (above - below)));
      squares += numeric.back() * numeric.back();
    }
    const double floor =
        elements.empty() ? 0 : 1e-2 * std::sqrt(squares / static_cast<double>(elements.size()));
    GradcheckReport::Input found{
        probe.tensor.shape(), static_cast<std::int64_t>(elements.size()), {}};
    for (std::size_t k = 0; k < elements.size(); ++k) {
      const double a = analytic[static_cast<std::size_t>(elements[k])];
      const double error = error_of(a, numeric[k], floor);
      if (found.worst.index < 0 || error > found.worst.error)
        found.worst = {elements[k], a, numeric[k], error};
    }
    report.inputs.push_back(found);
    if (found.worst.error > report.worst_error()) report.worst_input = i;
  }
  return report;
}

GradcheckReport gradcheck(const GradcheckCase& one, const GradcheckOptions& options) {
  std::vector<Tensor> inputs;
  for (const GradcheckCase::Input& input : one.inputs) inputs.push_back(input.value);
  return gradcheck(one.f, inputs, options);
}

std::string GradcheckReport::text() const {
  if (inputs.empty()) return "ok, no inputs";
  const Input& input = inputs[worst_input];
  return fmt::format(
      "{}, worst error {:.2g}: input {} {}, element {}: backward {:.9g}, "
      "differences {:.9g}",
      passed() ? "ok" : "WRONG", worst_error(), worst_input, to_string(input.shape),
      input.worst.index, input.worst.analytic, input.worst.numeric);
}

}  // namespace tiller
