#include "bench/floors.h"

#include <algorithm>
#include <map>

namespace tiller::bench {

namespace {

struct Sum {
  int calls = 0;
  double flops = 0, bytes = 0, seconds = 0;
  void add(const Case& call, const Rates& rates) {
    const double moved = call.cost.bytes_read + call.cost.bytes_written;
    calls += call.calls;
    flops += call.calls * call.cost.flops;
    bytes += call.calls * moved;
    seconds += call.calls * std::max(call.cost.flops / rates.flops, moved / rates.bytes);
  }
};

}  // namespace

void print_floors(const std::vector<Case*>& cases, const Rates& rates) {
  std::map<std::string, Sum> sums;
  Sum all;
  for (const Case* call : cases) {
    sums[call->op].add(*call, rates);
    all.add(*call, rates);
  }
  const auto print = [&](const std::string& operation, const Sum& sum) {
    fmt::print("{},{},{:.3f},{:.3f},{:.4f},{:.4f},{:.4f}\n", operation, sum.calls, 1e-9 * sum.flops,
               1e-6 * sum.bytes, 1e3 * sum.flops / rates.flops, 1e3 * sum.bytes / rates.bytes,
               1e3 * sum.seconds);
  };
  fmt::print("operation,calls,gflop,mbyte,arithmetic_ms,memory_ms,floor_ms\n");
  for (const auto& [operation, sum] : sums) print(operation, sum);
  print("all", all);
}

}  // namespace tiller::bench
