#include <bit>

#include "kernels/device_rows.h"
#include "kernels/peak/kernels.h"
#include "kernels/peak/peak.h"

namespace tiller {

template <>
void run_peak_on<kDeviceType>(PeakKind kind, std::int64_t rounds, const Tensor& sink,
                              Stream stream) {
  PeakParams p{};
  p.sink = sink.data<float>();
  p.blocks = sink.numel() / kPeakThreads;
  p.rounds = static_cast<int>(rounds);
  p.one = 1;
  // A register holds two halves, or one tf32.
  const auto twice = [](std::uint16_t half) { return half | std::uint32_t{half} << 16; };
  if (kind == PeakKind::mma_f16) p.one_a = twice(std::bit_cast<std::uint16_t>(f16(1.0f)));
  if (kind == PeakKind::mma_bf16) p.one_a = twice(std::bit_cast<std::uint16_t>(bf16(1.0f)));
  if (kind == PeakKind::mma_tf32) p.one_a = std::bit_cast<std::uint32_t>(1.0f);
  p.one_b = p.one_a;
  peak_v1(kind, p, stream);
}

}  // namespace tiller
