#pragma once
#include <benchmark/benchmark.h>

namespace tiller::bench {

/// One line per row and call, as a Markdown table: time, rates, and shares of the measured
/// ceilings.
class MarkdownReporter final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;
};

}  // namespace tiller::bench
