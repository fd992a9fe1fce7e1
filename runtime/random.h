#pragma once
// Random numbers. Philox is a pure function of (key, counter), so the noise of a sample does not
// depend on batch size, device or order. TorchCpuGenerator draws what PyTorch's CPU generator
// draws.
#include <array>
#include <cstdint>
#include <vector>

#include "runtime/tensor.h"

namespace tiller {

/// What a random number is for: the last word of Philox's counter, so that streams never meet.
enum class RandomStream : std::uint32_t {
  x_start,
  step_noise,
  classes,
  dropout,
  timestep,
  loader,
  init
};

/// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). Host and
/// device run the same integer code.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

/// Where a run of random numbers starts: key = seed; element e of sample s at a step draws word e %
/// 4 of counter {e / 4, s, step, stream}.
struct RandomKey {
  std::uint64_t seed = 0;
  std::uint32_t sample = 0;  ///< index of the sample over the whole run, not within its batch
  std::uint32_t step = 0;
  RandomStream stream = RandomStream::x_start;
};

/// Standard normal numbers for one sample's elements [0, n) by Box-Muller with our own fma
/// polynomials: the same bits on every device.
void philox_normal(const RandomKey& key, std::int64_t n, float* out);
/// Uniform numbers in [0, 1): the upper 24 bits of a word times 2^-24.
void philox_uniform(const RandomKey& key, std::int64_t n, float* out);
/// Uniform integers in [0, bound), by multiplying a 32-bit word with bound and keeping the upper
/// half.
void philox_integers(const RandomKey& key, std::int64_t n, std::uint32_t bound, std::int64_t* out);

/// Fills f32 [N, ...] with normal numbers: entry i uses key.sample + i.
void fill_normal(const Tensor& x, const RandomKey& key);

/// PyTorch's CPU generator after torch.manual_seed(seed): mt19937 seeded with the low 32 bits.
/// Methods draw in the order and the way that PyTorch's do, so that a sequence of calls gives the
/// same values (normals within a few ulp). Pictures are NCHW there: draw, then permute.
class TorchCpuGenerator {
 public:
  explicit TorchCpuGenerator(std::uint64_t seed);
  std::uint32_t next_u32();
  /// torch.randn(n): blocks of 16 for n >= 16, pairs in double below that.
  std::vector<float> randn(std::int64_t n);
  /// torch.rand(n).
  std::vector<float> rand(std::int64_t n);
  /// torch.randint(0, bound, (n,)), bound < 2^32.
  std::vector<std::int64_t> randint(std::int64_t bound, std::int64_t n);

 private:
  double next_normal_double();
  std::array<std::uint32_t, 624> state_{};
  std::size_t next_ = 624;
  double cached_normal_ = 0;
  bool has_cached_normal_ = false;
};

}  // namespace tiller
