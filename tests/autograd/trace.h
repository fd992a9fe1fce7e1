#pragma once
// What ran, for tests that count.
#include <algorithm>
#include <string>
#include <vector>

#include "runtime/trace.h"

namespace tiller::test {

/// Keeps the name, module and phase of every operation that runs while it lives.
class Ran final : public TraceSink {
 public:
  struct Event {
    std::string op, module, phase;
  };
  Ran() : guard_(*this, TraceLevel::ops) {}
  void on_op(const OpEvent& event) override {
    events.push_back({event.op, event.module, event.phase});
  }
  /// How many operations have a name that contains this.
  std::ptrdiff_t count(const std::string& part) const {
    return std::count_if(events.begin(), events.end(), [&](const Event& event) {
      return event.op.find(part) != std::string::npos;
    });
  }
  std::vector<Event> events;

 private:
  TraceGuard guard_;
};

}  // namespace tiller::test
