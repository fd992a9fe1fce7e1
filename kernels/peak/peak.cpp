#include "kernels/peak/peak.h"

#include "runtime/error.h"

namespace tiller {

const char* name(PeakKind kind) {
  switch (kind) {
    case PeakKind::fma_f32:
      return "fma_f32";
    case PeakKind::mma_f16:
      return "mma_f16";
    case PeakKind::mma_bf16:
      return "mma_bf16";
    case PeakKind::mma_tf32:
      return "mma_tf32";
  }
  return "?";
}

double peak_flops(PeakKind kind, std::int64_t blocks, std::int64_t rounds) {
  const auto threads = static_cast<double>(blocks * kPeakThreads);
  const double sums = threads * kPeakChains * static_cast<double>(rounds);
  if (kind == PeakKind::fma_f32) return 2 * sums;
  // m16n8k16 is 2 * 16 * 8 * 16 flops of 32 threads; tf32's k is 8.
  return sums / 32 * 2 * 16 * 8 * (kind == PeakKind::mma_tf32 ? 8 : 16);
}

void run_peak(PeakKind kind, std::int64_t rounds, const Tensor& sink, Stream stream) {
  TILLER_CHECK(sink.defined() && sink.dtype() == DType::f32 && sink.dense() &&
                   sink.numel() % kPeakThreads == 0,
               "peak: sink {} is not f32 of whole blocks of {}", to_string(sink), kPeakThreads);
  switch (sink.device().type) {
    case DeviceType::cuda:
      return run_peak_on<DeviceType::cuda>(kind, rounds, sink, stream);
    case DeviceType::simt:
      return run_peak_on<DeviceType::simt>(kind, rounds, sink, stream);
    default:
      fail(ErrorKind::failed, fmt::format("peak: {} has no such kernel", to_string(sink.device())));
  }
}

}  // namespace tiller
