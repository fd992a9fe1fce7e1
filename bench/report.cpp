#include "bench/report.h"

#include <fmt/format.h>

#include "bench/ceilings.h"
#include "runtime/backend.h"
#include "runtime/parallel.h"

namespace tiller::bench {

bool MarkdownReporter::ReportContext(const Context&) {
  const MachineCeilings& c = machine_ceilings();
  fmt::print(
      "{}, {} threads: multiply-add peak {:.0f} GFLOP/s ({:.0f} % of clock x width), copy "
      "{:.1f} GB/s.\n\n",
      backend(kCpu).describe(), threads(), c.peak_gflops, 100 * c.peak_share, c.copy_gbytes);
  fmt::print(
      "| operation | row | call | ms | GFLOP/s | % of peak | GB/s | % of copy |\n"
      "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |\n");
  return true;
}

void MarkdownReporter::ReportRuns(const std::vector<Run>& runs) {
  const MachineCeilings& c = machine_ceilings();
  for (const Run& run : runs) {
    // "op/row/call"
    const std::string name = run.run_name.function_name;
    const std::size_t first = name.find('/'), second = name.find('/', first + 1);
    const std::string row = name.substr(first + 1, second - first - 1);
    if (run.error_occurred) {
      fmt::print("| {} | {} | {} | {} |\n", name.substr(0, first), row, name.substr(second + 1),
                 run.error_message);
      continue;
    }
    const double seconds = run.real_accumulated_time / static_cast<double>(run.iterations);
    const auto counter = [&](const char* key) {
      const auto at = run.counters.find(key);
      return at == run.counters.end() ? 0.0 : static_cast<double>(at->second);
    };
    const double gflops = 1e-9 * counter("flops"), gbytes = 1e-9 * counter("bytes");
    fmt::print("| {} | {} | {} | {:.3f} | {:.1f} | {:.0f} | {:.2f} | {:.0f} |\n",
               name.substr(0, first), row, name.substr(second + 1), 1e3 * seconds, gflops,
               100 * gflops / c.peak_gflops, gbytes, 100 * gbytes / c.copy_gbytes);
  }
}

}  // namespace tiller::bench
