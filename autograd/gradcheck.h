#pragma once
// Is a backward the derivative of its forward? Central differences in f64 answer, one element at a
// time.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "autograd/tape.h"

namespace tiller {

/// Any function of several tensors, made of operations. It must be a pure function of its inputs.
using GradcheckFunction = std::function<Var(const std::vector<Var>& inputs)>;

struct GradcheckOptions {
  double step = 1e-5;              ///< h in (f(x + h) - f(x - h)) / 2h
  double tolerance = 1e-6;         ///< largest error that passes
  std::int64_t max_elements = 64;  ///< probed per input, drawn by Philox; 0 means all
  std::uint64_t seed = 1;          ///< of the elements drawn and of the direction dy
};

/// What was found. The error of an element is |analytic - numeric| / max(|analytic|, |numeric|,
/// floor), with floor = 1/100 of the root mean square of the input's numeric gradient: elements
/// that are zero by cancellation are not judged by their rounding. 0 / 0 counts as 0.
struct GradcheckReport {
  struct Element {
    std::int64_t index = -1;  ///< in row order; -1 when the input has no elements
    double analytic = 0, numeric = 0, error = 0;
  };
  struct Input {
    Shape shape;
    std::int64_t probed = 0;
    Element worst;
  };
  std::vector<Input> inputs;
  std::size_t worst_input = 0;
  double tolerance = 0;
  double worst_error() const { return inputs.empty() ? 0 : inputs[worst_input].worst.error; }
  bool passed() const { return worst_error() <= tolerance; }
  /// One line: "ok, worst error 3e-10: input 1 [4,3], element 7: backward 0.12, differences 0.12".
  std::string text() const;
};

/// Compares the backward of sum(f(inputs) * dy), dy fixed random numbers, with central differences.
/// inputs: f64 on the CPU; they are not written to. Throws Error for other inputs. A NaN anywhere
/// is an infinite error.
GradcheckReport gradcheck(const GradcheckFunction& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options = {});

/// One function to check, with inputs that stay clear of its kinks.
struct GradcheckCase {
  struct Input {
    Tensor value;            // f64
    bool parameter = false;  ///< a weight, bias, ...: f32 where activations are half
  };
  std::string name;  ///< "conv2d two sources, up2x"
  GradcheckFunction f;
  std::vector<Input> inputs;
};

/// Every operation of autograd/ops.h with every option: what the tests and `tiller gradcheck` walk.
std::vector<GradcheckCase> gradcheck_cases();

GradcheckReport gradcheck(const GradcheckCase& one, const GradcheckOptions& options = {});

}  // namespace tiller
