#include <benchmark/benchmark.h>

#include <algorithm>

#include "bench/ceilings.h"
#include "bench/checked.h"
#include "bench/device.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/versus.h"
#include "runtime/parallel.h"

namespace tiller::bench {

namespace {

bool among(const std::string& name, const std::string& list) {
  return list.empty() || ("," + list + ",").find("," + name + ",") != std::string::npos;
}

std::vector<Case*> wanted(const Cases& cases, const Options& options) {
  std::vector<Case*> chosen;
  for (const std::unique_ptr<Case>& call : cases.all())
    if (among(call->op, options.op) && call->shape.find(options.shape) != std::string::npos &&
        (options.max_gflop == 0 || call->cost.flops <= 1e9 * options.max_gflop))
      chosen.push_back(call.get());
  // Small calls first: rows are checked on them before they are trusted to check others.
  std::stable_sort(chosen.begin(), chosen.end(), [](const Case* a, const Case* b) {
    return a->op != b->op ? a->op < b->op : a->cost.flops < b->cost.flops;
  });
  return chosen;
}

void print_list(const std::vector<Case*>& cases) {
  for (const Case* call : cases)
    fmt::print("{} {}: {} calls, {:.3f} GFLOP and {:.2f} MB each; rows {} (default {}); {}\n",
               call->op, call->shape, call->calls, 1e-9 * call->cost.flops,
               1e-6 * (call->cost.bytes_read + call->cost.bytes_written),
               fmt::join(call->rows(), ", "), call->default_row(), fmt::join(call->users, ", "));
}

void print_ceilings() {
  const MachineCeilings& c = machine_ceilings();
  fmt::print("{} threads at {:.2f} GHz\n", threads(), c.clock_ghz);
  fmt::print("multiply-add peak  {:.1f} GFLOP/s: {:.1f} % of clock x {:.0f} flops a cycle\n",
             c.peak_gflops, 100 * c.peak_share, c.flops_per_cycle);
  fmt::print("copy bandwidth     {:.1f} GB/s read plus written\n", c.copy_gbytes);
}

void measure(benchmark::State& state, Case& call, const std::string& row, Checked* checked) {
  if (checked) {
    const std::string wrong = (*checked)(call, row);
    if (!wrong.empty()) return state.SkipWithError(wrong.c_str());
  }
  call.materialise();
  call.run(row);  // packs weights, touches pages
  for (auto _ : state) call.run(row);
  call.release();
  const auto rate = [&](double each) {
    return benchmark::Counter(each, benchmark::Counter::kIsIterationInvariantRate);
  };
  state.counters["flops"] = rate(call.cost.flops);
  state.counters["bytes"] = rate(call.cost.bytes_read + call.cost.bytes_written);
}

int run_google(const std::vector<Case*>& cases, Options& options) {
  Checked checked;
  for (Case* call : cases)
    for (const std::string& row : call->rows()) {
      if (!among(row, options.row)) continue;
      if (options.row.empty() && row == "reference" && call->cost.flops > 1e9) continue;
      benchmark::RegisterBenchmark(
          (call->op + "/" + row + "/" + call->shape).c_str(),
          [call, row, check = options.check ? &checked : nullptr](benchmark::State& state) {
            measure(state, *call, row, check);
          })
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  int count = static_cast<int>(options.google.size());
  benchmark::Initialize(&count, options.google.data());
  MarkdownReporter markdown;
  const std::size_t ran = options.markdown ? benchmark::RunSpecifiedBenchmarks(&markdown)
                                           : benchmark::RunSpecifiedBenchmarks();
  if (ran == 0) fmt::print(stderr, "tiller_bench: no call and row match (try --list)\n");
  return ran ? 0 : 1;
}

int run_program(int argc, char** argv) {
  Options options = parse_options(argc, argv);
  if (options.help) {
    fmt::print("{}", help());
    return 0;
  }
  const bool on_cpu = options.device.type == DeviceType::cpu;
  const bool counts_only = options.list || options.floors.flops > 0;
  if (!counts_only) backend(options.device);  // says why when it cannot be used
  if (options.ceilings) {
    on_cpu ? print_ceilings() : print_device_ceilings(options.device);
    return 0;
  }
  const MathGuard math(options.tf32 ? Math::tf32 : Math::f32);
  Cases cases(options.plain, options.device);
  for (const std::string& model : options.models)
    for (const Pass pass : options.passes)
      collect(model, pass, options.batch, options.dtype, cases);
  const std::vector<Case*> chosen = wanted(cases, options);
  if (options.list) {
    print_list(chosen);
    return 0;
  }
  if (options.floors.flops > 0) {
    print_floors(chosen, options.floors);
    return 0;
  }
  if (!on_cpu || options.twins) return run_on_device(chosen, options);
  return options.versus.empty() ? run_google(chosen, options) : run_versus(chosen, options);
}

}  // namespace

}  // namespace tiller::bench

int main(int argc, char** argv) {
  try {
    return tiller::bench::run_program(argc, argv);
  } catch (const tiller::Error& error) {
    fmt::print(stderr, "tiller_bench: {}\n", error.what());
    return error.kind() == tiller::ErrorKind::usage ? 2 : 1;
  }
}
