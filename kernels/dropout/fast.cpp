#include "kernels/dropout/fast.h"

#include <cmath>

#include "kernels/blocks.h"
#include "kernels/dropout/reference.h"
#include "kernels/philox_simd.h"

namespace tiller {

bool dropout_fast_supports(const DropoutArgs& args) { return no_f64(args.x, args.y); }

// Entry by entry in blocks, because every entry's counter starts anew. A uniform number u * 2^-24
// is at least p when the integer u is at least p * 2^24.
void dropout_fast(const DropoutArgs& args, void*, Stream) {
  if (args.x.numel() == 0) return;
  const std::int64_t per_entry = args.x.numel() / args.x.dim(0);
  const std::int64_t tasks = (per_entry + kTaskElements - 1) / kTaskElements;
  const RandomKey& key = args.key;
  const auto key0 = static_cast<std::uint32_t>(key.seed);
  const auto key1 = static_cast<std::uint32_t>(key.seed >> 32);
  const auto threshold = static_cast<int>(std::ceil(args.p * 0x1p24));
  const __m256i last_dropped = _mm256_set1_epi32(threshold - 1);
  const f32x8 scale(static_cast<float>(dropout_scale(args)));
  launch("dropout", args.x.dim(0) * tasks, [&](std::int64_t task) {
    const std::int64_t entry = task / tasks, begin = task % tasks * kTaskElements;
    const std::int64_t end = std::min(per_entry, begin + kTaskElements);
    const std::uint32_t sample = key.sample + static_cast<std::uint32_t>(entry);
    for (std::int64_t e = begin; e < end; e += kBlockElements) {
      const std::int64_t n = std::min(kBlockElements, end - e), at = entry * per_entry + e;
      BlockBuffer in, out;
      const float* x = read_block(args.x, at, n, in.data);
      float* y = block_target(args.y, at, out.data);
      const std::uint32_t group = (args.layer << 24) + static_cast<std::uint32_t>(e / 4);
      for (std::int64_t i = 0; i < n; i += 32) {  // 32 elements are eight counters
        __m256i word[4];
        words_in_order(philox8(group + static_cast<std::uint32_t>(i / 4), sample, key.step,
                               static_cast<std::uint32_t>(key.stream), key0, key1),
                       word);
        for (int j = 0; j < 4 && i + 8 * j < n; ++j) {
          const std::int64_t first = i + 8 * j, count = n - first;
          const __m256i keep = _mm256_cmpgt_epi32(_mm256_srli_epi32(word[j], 8), last_dropped);
          const f32x8 v = count >= 8 ? f32x8::load(x + first) : f32x8::load(x + first, count);
          const f32x8 kept = _mm256_and_ps((v * scale).v, _mm256_castsi256_ps(keep));
          count >= 8 ? kept.store(y + first) : kept.store(y + first, count);
        }
      }
      write_block(args.y, at, n, y);
    }
  });
}

}  // namespace tiller
