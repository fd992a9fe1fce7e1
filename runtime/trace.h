#pragma once
// The two hooks of profiling. run() (runtime/op.h) reports every operation with its row and cost;
// Module::operator() opens a ModuleScope. Layers and kernels contain no profiling line.
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/device.h"

namespace tiller {

class OpBase;

/// What an operation does by its definition: one flop is one +, -, *, / or call of exp, log, sqrt,
/// tanh, sin, cos, pow or erf; comparisons, casts and index arithmetic count none. Bytes count
/// every distinct element of each argument once.
struct Cost {
  double flops = 0;
  double bytes_read = 0;
  double bytes_written = 0;
  Cost& operator+=(const Cost& other) {
    flops += other.flops;
    bytes_read += other.bytes_read;
    bytes_written += other.bytes_written;
    return *this;
  }
};

/// How much is reported. `ops`: run() reports each operation. `launches`: launch() reports each
/// kernel below it, too.
enum class TraceLevel : int { off = 0, ops = 1, launches = 2 };

struct OpEvent {
  const char* op;
  const char* row;
  Device device;
  Cost cost;
  std::string shape;          ///< the arguments, described
  std::string module;         ///< key path of the module, "" outside any
  const char* phase;          ///< "forward", "backward", or what a PhaseScope says
  std::int64_t begin_ns = 0;  ///< steady clock; 0 on meta
  std::int64_t end_ns = 0;
  std::int64_t step = -1;   ///< what a StepScope says: the sampler's or trainer's step, else -1
  const char* within = "";  ///< the phase around `phase`: "classifier" for its "backward"; or ""
  /// The operation itself and its Args, which live as long as on_op() runs: for a sink that wants to
  /// run the same call again.
  const OpBase* operation = nullptr;
  const void* args = nullptr;
};

struct LaunchEvent {
  const char* kernel;
  Device device;
  std::int64_t grid;  ///< blocks, or tasks on the CPU
  int block;          ///< threads of a block, or 1 on the CPU
};

/// Receives events on the thread that runs the network.
class TraceSink {
 public:
  virtual ~TraceSink() = default;
  virtual void on_op(const OpEvent& event) = 0;
  virtual void on_launch(const LaunchEvent&) {}
};

/// Sends the calling thread's events to `sink` until the guard dies; guards nest.
class TraceGuard {
 public:
  TraceGuard(TraceSink& sink, TraceLevel level);
  ~TraceGuard();
  TraceGuard(const TraceGuard&) = delete;
  TraceGuard& operator=(const TraceGuard&) = delete;

 private:
  TraceSink* previous_sink_;
  TraceLevel previous_level_;
};

namespace trace_detail {
struct State {
  TraceSink* sink = nullptr;
  TraceLevel level = TraceLevel::off;
  const std::string* module = nullptr;
  const char* phase = "forward";
  const char* within = "";
  std::int64_t step = -1;
};
extern thread_local State state;
}  // namespace trace_detail

inline TraceLevel trace_level() { return trace_detail::state.level; }
inline TraceSink* trace_sink() { return trace_detail::state.sink; }

/// The key path of the module that is running, "" outside any.
const std::string& current_module();
const char* current_phase();
/// The phase around the current one, "" outside any.
inline const char* enclosing_phase() { return trace_detail::state.within; }

/// Names the module that runs until the scope dies. `path` must outlive the scope.
class ModuleScope {
 public:
  explicit ModuleScope(const std::string& path) : previous_(trace_detail::state.module) {
    trace_detail::state.module = &path;
  }
  ~ModuleScope() { trace_detail::state.module = previous_; }
  ModuleScope(const ModuleScope&) = delete;
  ModuleScope& operator=(const ModuleScope&) = delete;

 private:
  const std::string* previous_;
};

/// Names what the program is doing ("unet", "classifier backward", "sampler"). A literal.
class PhaseScope {
 public:
  explicit PhaseScope(const char* phase)
      : previous_(trace_detail::state.phase), previous_within_(trace_detail::state.within) {
    trace_detail::state.within = previous_;
    trace_detail::state.phase = phase;
  }
  ~PhaseScope() {
    trace_detail::state.phase = previous_;
    trace_detail::state.within = previous_within_;
  }
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

 private:
  const char* previous_;
  const char* previous_within_;
};

/// The step of a loop (sampling, training) that is running, -1 outside any.
inline std::int64_t current_step() { return trace_detail::state.step; }

/// Numbers the step of a loop that runs until the scope dies, from 0.
class StepScope {
 public:
  explicit StepScope(std::int64_t step) : previous_(trace_detail::state.step) {
    trace_detail::state.step = step;
  }
  ~StepScope() { trace_detail::state.step = previous_; }
  StepScope(const StepScope&) = delete;
  StepScope& operator=(const StepScope&) = delete;

 private:
  std::int64_t previous_;
};

/// Nanoseconds of the steady clock.
std::int64_t now_ns();

}  // namespace tiller
