#include "tools/report/trace_printer.h"

#include "runtime/env.h"
#include "runtime/error.h"

namespace tiller {

void TracePrinter::on_op(const OpEvent& event) {
  const double ms = static_cast<double>(event.end_ns - event.begin_ns) * 1e-6;
  fmt::print(stderr, "{:>9.3f} ms  {:>8.2f} GFLOP/s  {}:{}  {}  {} {}\n", ms,
             ms > 0 ? event.cost.flops / ms * 1e-6 : 0.0, event.op, event.row, event.shape,
             event.module, event.phase);
}

void TracePrinter::on_launch(const LaunchEvent& event) {
  fmt::print(stderr, "    launch {} on {}: {} x {}\n", event.kernel, to_string(event.device),
             event.grid, event.block);
}

std::unique_ptr<TracePrinter> trace_printer_from_environment() {
  const std::string level = environment("TILLER_TRACE");
  if (level.empty() || level == "0") return nullptr;
  if (level != "1" && level != "2")
    fail(ErrorKind::usage, fmt::format("TILLER_TRACE={} is not 0, 1 or 2", level));
  return std::make_unique<TracePrinter>(level == "1" ? TraceLevel::ops : TraceLevel::launches);
}

}  // namespace tiller
