#pragma once
#include <memory>

#include "runtime/trace.h"

namespace tiller {

/// Prints operations (level 1) and launches (level 2) to stderr as they run: TILLER_TRACE.
class TracePrinter final : public TraceSink {
 public:
  explicit TracePrinter(TraceLevel level) : guard_(*this, level) {}
  void on_op(const OpEvent& event) override;
  void on_launch(const LaunchEvent& event) override;

 private:
  TraceGuard guard_;
};

/// Null when TILLER_TRACE is unset or 0. Throws Error(usage) for anything but 0, 1 and 2.
std::unique_ptr<TracePrinter> trace_printer_from_environment();

}  // namespace tiller
