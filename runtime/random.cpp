#include "runtime/random.h"

#include <algorithm>

#include "runtime/parallel.h"
#include "runtime/philox.h"

namespace tiller {

namespace {

PhiloxWords words_at(const RandomKey& key, std::uint32_t group) {
  return philox({{group, key.sample, key.step, static_cast<std::uint32_t>(key.stream)}},
                static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32));
}

// The first word of the counter holds element / 4.
void check_count(std::int64_t n) {
  TILLER_CHECK(n >= 0 && n <= (std::int64_t{4} << 32),
               "random: {} elements of one sample, at most 2^34 have numbers of their own", n);
}

// Calls write(element, words, count) for each group of four elements of [0, n); the last may be
// cut.
template <class Write>
void for_each_group(const RandomKey& key, std::int64_t n, const Write& write) {
  check_count(n);
  for (std::int64_t e = 0; e < n; e += 4)
    write(e, words_at(key, static_cast<std::uint32_t>(e / 4)), std::min<std::int64_t>(4, n - e));
}

// Normal numbers of elements [begin, end), begin a multiple of 4. `out` is element `begin`.
void normals(const RandomKey& key, std::int64_t begin, std::int64_t end, float* out) {
  const std::int64_t whole = (end - begin) / 4;
  const auto first = static_cast<std::uint32_t>(begin / 4);
  for (std::int64_t i = 0; i < whole; ++i) {
    const PhiloxFloats four = normals_of(words_at(key, first + static_cast<std::uint32_t>(i)));
    for (int j = 0; j < 4; ++j) out[4 * i + j] = four.v[j];
  }
  if (const std::int64_t rest = (end - begin) % 4; rest > 0) {
    const PhiloxFloats four = normals_of(words_at(key, first + static_cast<std::uint32_t>(whole)));
    std::copy_n(four.v, rest, out + 4 * whole);
  }
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  const PhiloxWords w = philox({{counter[0], counter[1], counter[2], counter[3]}}, key[0], key[1]);
  return {w.v[0], w.v[1], w.v[2], w.v[3]};
}

void philox_normal(const RandomKey& key, std::int64_t n, float* out) {
  check_count(n);
  normals(key, 0, n, out);
}

void philox_uniform(const RandomKey& key, std::int64_t n, float* out) {
  for_each_group(key, n, [out](std::int64_t e, const PhiloxWords& words, std::int64_t count) {
    for (std::int64_t j = 0; j < count; ++j) out[e + j] = uniform_of(words.v[j]);
  });
}

void philox_integers(const RandomKey& key, std::int64_t n, std::uint32_t bound, std::int64_t* out) {
  TILLER_CHECK(bound > 0, "random: integers in [0, 0) do not exist");
  for_each_group(key, n, [=](std::int64_t e, const PhiloxWords& words, std::int64_t count) {
    for (std::int64_t j = 0; j < count; ++j) out[e + j] = integer_of(words.v[j], bound);
  });
}

void fill_normal(const Tensor& x, const RandomKey& key) {  // [N, ...]
  TILLER_CHECK(x.rank() >= 1, "fill_normal: {} has no batch dimension", to_string(x));
  TILLER_CHECK(x.dtype() == DType::f32 && x.dense(), "fill_normal: {} is not a dense f32 tensor",
               to_string(x));
  if (x.device().type == DeviceType::meta || x.numel() == 0) return;
  if (x.device() != kCpu) {
    const Tensor host = Tensor::empty(x.shape());
    fill_normal(host, key);
    x.copy_from(host);
    return;
  }
  const std::int64_t samples = x.dim(0), size = x.numel() / samples;
  check_count(size);
  constexpr std::int64_t kChunk = 1 << 14;  // elements per task, a multiple of 4
  const std::int64_t chunks = (size + kChunk - 1) / kChunk;
  float* out = x.data<float>();
  launch("philox_normal", samples * chunks, [&](std::int64_t task) {
    const std::int64_t sample = task / chunks, begin = task % chunks * kChunk;
    RandomKey own = key;
    own.sample += static_cast<std::uint32_t>(sample);
    normals(own, begin, std::min(size, begin + kChunk), out + sample * size + begin);
  });
  x.bump_version();
}

}  // namespace tiller
