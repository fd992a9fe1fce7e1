#pragma once
// What ran, when, and what was alive then: the raw material of every report.
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/trace.h"

namespace tiller {

/// A text seen many times, stored once; ids count from 0 in order of first sight.
class Names {
 public:
  int id(const std::string& text);
  const std::string& operator[](int id) const { return texts_[static_cast<std::size_t>(id)]; }

 private:
  std::unordered_map<std::string, int> ids_;
  std::vector<std::string> texts_;
};

/// One operation as it ran.
struct OpRecord {
  int kernel;  ///< "conv2d_fwd:v2_indirect_avx512", an id into Recording::names
  int shape;
  int module;
  int phase;
  Cost cost;
  std::int64_t begin_ns, end_ns;
  std::int64_t step;       ///< -1 outside any loop
  std::size_t live_bytes;  ///< of the device's allocator when the operation returned
};

/// The steps of a loop that count: [first, last), or everything, also outside loops.
struct StepWindow {
  std::int64_t first = -1, last = -1;
  bool everything() const { return first < 0; }
  bool contains(std::int64_t step) const { return everything() || (step >= first && step < last); }
};

/// "2:5", "2:" or "3" (that step alone) as a window; "" is everything. Throws Error(usage).
StepWindow parse_steps(const std::string& text);

struct Recording {
  Names names;
  std::vector<OpRecord> ops;
  std::int64_t outside = 0;  ///< operations that ran outside the window
};

/// Records the calling thread's operations from its construction on.
class Recorder final : public TraceSink {
 public:
  explicit Recorder(StepWindow window) : window_(window), guard_(*this, TraceLevel::ops) {}
  void on_op(const OpEvent& event) override;
  const Recording& recording() const { return recording_; }
  Device device() const { return device_; }  ///< where the last operation ran

 private:
  StepWindow window_;
  Device device_ = kCpu;
  Recording recording_;
  TraceGuard guard_;
};

}  // namespace tiller
