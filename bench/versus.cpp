#include "bench/versus.h"

#include <time.h>

#include <algorithm>

#include "bench/ceilings.h"
#include "bench/checked.h"
#include "runtime/parallel.h"

namespace tiller::bench {

namespace {

struct Times {
  double ours, theirs;  // seconds, the least of all rounds
};

// By the clock on the wall, or by the processor time that the whole process used.
double now(bool cpu_time) {
  timespec at{};
  clock_gettime(cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &at);
  return static_cast<double>(at.tv_sec) + 1e-9 * static_cast<double>(at.tv_nsec);
}

// Short calls are repeated within a round, so that the clock's own cost does not matter.
double mean_seconds(Case& call, const std::string& row, int repeats, bool cpu_time) {
  const double begin = now(cpu_time);
  for (int i = 0; i < repeats; ++i) call.run(row);
  return (now(cpu_time) - begin) / repeats;
}

Times measure(Case& call, const std::string& ours, const std::string& theirs,
              const Options& options) {
  call.materialise();
  double longest = 0;
  for (const std::string& row : {ours, theirs, ours, theirs})  // packs weights, warms up
    longest = mean_seconds(call, row, 1, options.cpu_time);
  const int repeats = static_cast<int>(std::clamp(2e-3 / longest, 1.0, 1000.0));
  Times best{1e9, 1e9};
  for (int i = 0; i < options.rounds; ++i) {
    best.ours = std::min(best.ours, mean_seconds(call, ours, repeats, options.cpu_time));
    best.theirs = std::min(best.theirs, mean_seconds(call, theirs, repeats, options.cpu_time));
  }
  call.release();
  return best;
}

}  // namespace

int run_versus(const std::vector<Case*>& cases, const Options& options) {
  Checked checked;
  double flops = 0, weighted = 0, ours_total = 0, theirs_total = 0;
  bool all_right = true;
  const char* head = "ratio | ours % of peak | calls | GFLOP | ours | call";
  if (options.markdown)
    fmt::print("| {} |\n| ---: | ---: | ---: | ---: | --- | --- |\n", head);
  else
    fmt::print("{}\n", head);
  for (Case* call : cases) {
    const std::string ours = options.row.empty() ? call->default_row() : options.row;
    const std::vector<std::string> rows = call->rows();
    const auto has = [&](const std::string& row) {
      return std::find(rows.begin(), rows.end(), row) != rows.end();
    };
    if (!has(ours) || !has(options.versus) || ours == options.versus) continue;
    for (const std::string& row : {ours, options.versus}) {
      if (!options.check) continue;
      const std::string wrong = checked(*call, row);
      if (wrong.empty()) continue;
      fmt::print(stderr, "{}\n", wrong);
      all_right = false;
    }
    const Times t = measure(*call, ours, options.versus, options);
    const double ratio = t.theirs / t.ours;
    const double work = call->cost.flops * call->calls;
    flops += work;
    weighted += ratio * work;
    ours_total += t.ours * call->calls;
    theirs_total += t.theirs * call->calls;
    const char* bar = options.markdown ? "| " : "";
    fmt::print("{}{:5.2f} | {:5.1f} | {:3} | {:7.3f} | {} | {} {}{}\n", bar, ratio,
               100e-9 * call->cost.flops / t.ours / machine_ceilings().peak_gflops, call->calls,
               1e-9 * call->cost.flops, ours, call->op, call->shape, options.markdown ? " |" : "");
    std::fflush(stdout);
  }
  if (flops == 0) {
    fmt::print(stderr, "tiller_bench: no call here is supported by both rows\n");
    return 1;
  }
  fmt::print(
      "\n{} takes {:.3f} of the time of {} over all calls; weighted by flops, the ratio of "
      "their times is {:.3f} (above 1: ours is faster). {} threads, {:.1f} % of the "
      "multiply-add peak.\n",
      options.row.empty() ? "the default row" : options.row, ours_total / theirs_total,
      options.versus, weighted / flops, threads(),
      100e-9 * flops / ours_total / machine_ceilings().peak_gflops);
  return all_right ? 0 : 1;
}

}  // namespace tiller::bench
