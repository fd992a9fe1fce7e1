#include "bench/device.h"

#include <algorithm>

#include "bench/checked.h"
#include "kernels/peak/peak.h"
#include "runtime/graph.h"

namespace tiller::bench {

namespace {

constexpr double kStudyFlops = 2e10;  // above, a naive row takes minutes and tells nothing new

double seconds(std::int64_t begin_ns) { return 1e-9 * static_cast<double>(now_ns() - begin_ns); }

// Seconds of one call of `work`, the least of several rounds. A graph of many calls is replayed, so
// that no launch is waited for: what is measured is the kernel, as in a captured step.
double time_of(Device device, const std::function<void()>& work) {
  Backend& gpu = backend(device);
  const Stream stream = current_stream(device);
  work();  // makes what is made once
  gpu.synchronize(stream);
  const std::int64_t first = now_ns();
  work();
  gpu.synchronize(stream);
  const double once = seconds(first);
  const int repeats = static_cast<int>(std::clamp(5e-3 / once, 1.0, 100.0));
  StepGraph graph(device, true);
  const auto step = [&] {
    for (int i = 0; i < repeats; ++i) work();
  };
  bool replays = true;
  try {
    graph.run(step);
    graph.run(step);
  } catch (const Error&) {  // a call that sends the device a list (all parameters in one launch)
    replays = false;
  }
  double best = 1e9;
  const int rounds = once > 0.5 ? 1 : 5;
  for (int round = 0; round < rounds; ++round) {
    gpu.synchronize(stream);
    const std::int64_t begin = now_ns();
    replays ? graph.run(step) : step();
    gpu.synchronize(stream);
    best = std::min(best, seconds(begin) / repeats);
  }
  return best;
}

DeviceCeilings measure(Device device) {
  const bool gpu = device.type == DeviceType::cuda;
  const std::int64_t blocks = gpu ? 8192 : 2, rounds = gpu ? 4096 : 2;
  const Tensor sink = Tensor::empty({blocks * kPeakThreads}, DType::f32, device);
  const auto rate = [&](PeakKind kind) {
    const double time =
        time_of(device, [&] { run_peak(kind, rounds, sink, current_stream(device)); });
    return peak_flops(kind, blocks, rounds) / time;
  };
  const std::int64_t bytes = gpu ? std::int64_t{1} << 31 : std::int64_t{1} << 16;
  const Tensor from = Tensor::zeros({bytes}, DType::u8, device), to = Tensor::empty_like(from);
  DeviceCeilings c;
  c.fma_f32 = rate(PeakKind::fma_f32);
  c.mma_f16 = rate(PeakKind::mma_f16);
  c.mma_bf16 = rate(PeakKind::mma_bf16);
  c.mma_tf32 = rate(PeakKind::mma_tf32);
  c.copy = 2 * static_cast<double>(bytes) / time_of(device, [&] { to.copy_from(from); });
  return c;
}

// The most that a call could do: the arithmetic that its dtype allows, or the copy.
double least_seconds(const Case& call, const Options& options) {
  const DeviceCeilings& c = device_ceilings(options.device);
  const double peak = options.dtype == DType::f16    ? c.mma_f16
                      : options.dtype == DType::bf16 ? c.mma_bf16
                      : options.tf32                 ? c.mma_tf32
                                                     : c.fma_f32;
  return std::max(call.cost.flops / peak,
                  (call.cost.bytes_read + call.cost.bytes_written) / c.copy);
}

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

bool wanted(const Case& call, const std::string& row, const Options& options) {
  if (!options.row.empty()) return row == options.row;
  const RowKind kind = call.kind(row);
  if (kind == RowKind::reference) return false;
  return kind != RowKind::study || call.cost.flops <= kStudyFlops;
}

int run_twins(const std::vector<Case*>& cases, const Options& options) {
  int wrong = 0, right = 0;
  fmt::print("operation,row,call,verdict\n");
  for (Case* call : cases)
    for (const std::string& row : call->rows()) {
      if (!wanted(*call, row, options) || call->kind(row) == RowKind::peer) continue;
      const std::string verdict = call->verify_twin(row);
      ++(verdict.empty() ? right : wrong);
      fmt::print("{},{},{},{}\n", call->op, row, quoted(call->shape),
                 verdict.empty() ? "agrees" : quoted(verdict));
      std::fflush(stdout);
    }
  fmt::print(stderr, "{} rows agree with their twins, {} do not\n", right, wrong);
  return wrong == 0 && right > 0 ? 0 : 1;
}

}  // namespace

const DeviceCeilings& device_ceilings(Device device) {
  static const DeviceCeilings measured = measure(device);
  return measured;
}

void print_device_ceilings(Device device) {
  const DeviceCeilings& c = device_ceilings(device);
  fmt::print("what,value,unit\n");
  for (const auto& [what, rate] : {std::pair{"fma_f32", c.fma_f32},
                                   {"mma_f16", c.mma_f16},
                                   {"mma_bf16", c.mma_bf16},
                                   {"mma_tf32", c.mma_tf32}})
    fmt::print("{},{:.1f},TFLOP/s\n", what, 1e-12 * rate);
  fmt::print("copy,{:.1f},GB/s\n", 1e-9 * c.copy);
}

int run_on_device(const std::vector<Case*>& cases, const Options& options) {
  if (options.twins) return run_twins(cases, options);
  Checked checked;
  bool all_right = true;
  int measured = 0;
  fmt::print(
      "operation,row,kind,default,call,calls,gflop,mbyte,ms,tflops,gbytes,share_of_ceiling,"
      "time_over_cudnn\n");
  for (Case* call : cases) {
    const std::vector<std::string> rows = call->rows();
    const double least = least_seconds(*call, options);
    double peer = 0;
    // Peers first: the others are held against them.
    for (const bool peers : {true, false})
      for (const std::string& row : rows) {
        if ((call->kind(row) == RowKind::peer) != peers || !wanted(*call, row, options)) continue;
        const std::string wrong = options.check ? checked(*call, row) : "";
        if (!wrong.empty()) {
          fmt::print(stderr, "{}\n", wrong);
          all_right = false;
          continue;
        }
        call->materialise();
        const double time = time_of(options.device, [&] { call->run(row); });
        call->release();
        if (peers && (peer == 0 || time < peer)) peer = time;
        const double bytes = call->cost.bytes_read + call->cost.bytes_written;
        fmt::print("{},{},{},{},{},{},{:.4f},{:.3f},{:.5f},{:.2f},{:.1f},{:.3f},{}\n", call->op,
                   row, name(call->kind(row)), row == call->default_row() ? "yes" : "",
                   quoted(call->shape), call->calls, 1e-9 * call->cost.flops, 1e-6 * bytes,
                   1e3 * time, 1e-12 * call->cost.flops / time, 1e-9 * bytes / time, least / time,
                   peer > 0 && !peers ? fmt::format("{:.3f}", time / peer) : "");
        std::fflush(stdout);
        ++measured;
      }
  }
  if (measured == 0) fmt::print(stderr, "tiller_bench: no call and row match (try --list)\n");
  return all_right && measured > 0 ? 0 : 1;
}

}  // namespace tiller::bench
