#pragma once
// The tasks of the flash rows, for a vector type V and a storage type T. See flash.h.
#include <cmath>

#include "kernels/attention/flash.h"
#include "kernels/attention/flash_gemm.h"

namespace tiller::flash {

/// Where a task stands: sample, head, block.
struct Place {
  std::int64_t n, h, block, nh;
  TILLER_INLINE Place(const Problem& p, std::int64_t task, std::int64_t blocks)
      : n(task / blocks / p.heads),
        h(task / blocks % p.heads),
        block(task % blocks),
        nh(task / blocks) {}
};

/// The channels of part 0, 1, 2 (q, k, v) of a token.
template <class T>
TILLER_INLINE const T* token_of(const Problem& p, const Place& at, std::int64_t token, int part) {
  return static_cast<const T*>(p.qkv) + (at.n * p.tokens + token) * p.qkv_stride +
         part * p.part_stride + at.h * p.head_stride;
}

/// The channels of a head in a row of o, d_o or the output.
template <class T>
TILLER_INLINE T* head_of(const Problem& p, const Place& at, T* base, std::int64_t stride,
                         std::int64_t query) {
  return base + (at.n * p.queries + query) * stride + at.h * p.head_size;
}

TILLER_INLINE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

/// to[0, padded) = scale * from[0, D), zeros behind.
template <class V, class T>
TILLER_INLINE void copy_row(const Problem& p, const T* from, float scale, float* to) {
  for (std::int64_t d = p.head_size; d < p.padded; ++d) to[d] = 0;
  for_each_vector<V>(p.head_size, [&](auto at) { at.store(at.load(from) * V(scale), to); });
}

/// to[D,kKeys] = the transpose of `count` tokens' part, zeros behind. Goes through 8 tokens at a
/// time, so that a cache line is filled by one visit.
template <class V, class T>
void transpose(const Problem& p, const Place& at, std::int64_t first, std::int64_t count, int part,
               float* to) {
  if (count < kKeys)
    for (std::int64_t i = 0; i < p.head_size * kKeys; ++i) to[i] = 0;
  constexpr std::int64_t kTokens = 8;
  alignas(64) float rows[kTokens][V::kWidth];
  for (std::int64_t j = 0; j < count; j += kTokens) {
    const std::int64_t width = smaller(kTokens, count - j);
    for_each_vector<V>(p.head_size, [&](auto step) {
      for (std::int64_t t = 0; t < width; ++t)
        step.load(token_of<T>(p, at, first + j + t, part)).store(rows[t]);
      const std::int64_t depth = smaller(V::kWidth, p.head_size - step.i);
      for (std::int64_t d = 0; d < depth; ++d)
        for (std::int64_t t = 0; t < width; ++t) to[(step.i + d) * kKeys + j + t] = rows[t][d];
    });
  }
}

template <class V, class T>
void pack(const Forward& p, std::int64_t task) {
  const Place at(p, task, p.key_blocks());
  const std::int64_t first = at.block * kKeys;
  const std::int64_t count = smaller(kKeys, p.tokens - first);
  transpose<V, T>(p, at, first, count, 1, p.keys + task * kKeys * p.head_size);
  float* values = p.values + task * kKeys * p.padded;
  for (std::int64_t j = 0; j < count; ++j)
    copy_row<V>(p, token_of<T>(p, at, first + j, 2), 1, values + j * p.padded);
}

/// One row of logits [kKeys], of which `valid` count, becomes exp(s - m); m and the sum l are
/// brought up to date. Returns what the output so far must be multiplied with.
template <class V>
TILLER_INLINE float update_row(float* s, std::int64_t valid, float& m, float& l) {
  for (std::int64_t j = valid; j < kKeys; ++j) s[j] = -INFINITY;
  V top = V::load(s);
  for (std::int64_t j = V::kWidth; j < kKeys; j += V::kWidth) top = max(top, V::load(s + j));
  const float before = m;
  const float row = largest(top);
  if (row > m) m = row;
  V total(0.0f);
  for (std::int64_t j = 0; j < kKeys; j += V::kWidth) {
    const V e = exp(V::load(s + j) - V(m));
    e.store(s + j);
    total += e;
  }
  float factor = 1;
  if (m > before) {
    float lanes[V::kWidth];
    exp(V(before - m)).store(lanes);
    factor = lanes[0];
  }
  l = l * factor + sum(total);
  return factor;
}

template <class V, class T>
void forward(const Forward& p, std::int64_t task, float* scratch) {
  const Place at(p, task, p.query_blocks());
  const std::int64_t first = at.block * kQueries;
  const std::int64_t count = smaller(kQueries, p.queries - first);
  float* q = scratch;                  // [kQueries,padded], times scale
  float* o = q + kQueries * p.padded;  // [kQueries,padded], not yet divided by l
  float* s = o + kQueries * p.padded;  // [kQueries,kKeys]
  float* m = s + kQueries * kKeys;     // [kQueries] running maximum
  float* l = m + kQueries;             // [kQueries] running sum
  for (std::int64_t i = 0; i < count; ++i) {
    copy_row<V>(p, token_of<T>(p, at, first + i, 0), p.scale, q + i * p.padded);
    m[i] = -INFINITY;
    l[i] = 0;
  }
  for (std::int64_t block = 0; block < p.key_blocks(); ++block) {
    const std::int64_t index = at.nh * p.key_blocks() + block;
    const std::int64_t valid = smaller(kKeys, p.tokens - block * kKeys);
    gemm<V>(count, kKeys, p.head_size, {q, p.padded, 1}, p.keys + index * kKeys * p.head_size,
            kKeys, s, kKeys, false);
    for (std::int64_t i = 0; i < count; ++i) {
      const float factor = update_row<V>(s + i * kKeys, valid, m[i], l[i]);
      if (block > 0 && factor != 1)
        for (std::int64_t d = 0; d < p.padded; d += V::kWidth)
          (V::load(o + i * p.padded + d) * V(factor)).store(o + i * p.padded + d);
    }
    gemm<V>(count, p.padded, valid, {s, kKeys, 1}, p.values + index * kKeys * p.padded, p.padded, o,
            p.padded, block > 0);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    T* out = head_of(p, at, static_cast<T*>(p.out), p.o_stride, first + i);
    const V scale(1 / l[i]);
    for_each_vector<V>(p.head_size,
                       [&](auto step) { step.store(step.load(o + i * p.padded) * scale, out); });
    if (p.lse) p.lse[at.nh * p.lse_stride + first + i] = m[i] + std::log(l[i]);
  }
}

template <class V, class T>
void bwd_pack(const Backward& p, std::int64_t task) {
  const Place at(p, task, p.query_blocks());
  const std::int64_t first = at.block * kBwdQueries;
  const std::int64_t end = smaller(p.queries, first + kBwdQueries);
  for (std::int64_t i = first; i < end; ++i) {
    const std::int64_t row = at.nh * p.queries + i;
    const T* o = head_of(p, at, static_cast<const T*>(p.o), p.o_stride, i);
    const T* d_o = head_of(p, at, static_cast<const T*>(p.d_o), p.d_o_stride, i);
    copy_row<V>(p, token_of<T>(p, at, i, 0), p.scale, p.packed_q + row * p.padded);
    copy_row<V>(p, d_o, 1, p.packed_do + row * p.padded);
    V delta(0.0f);
    for_each_vector<V>(p.head_size,
                       [&](auto step) { delta = fma(step.load(o), step.load(d_o), delta); });
    p.delta[row] = sum(delta);
  }
}

/// A block of keys against all queries: dk and dv are this task's alone, dq goes to the chunk's
/// share.
template <class V, class T>
void key_block(const Backward& p, const Place& at, std::int64_t block, float* scratch) {
  const std::int64_t first = block * kKeys;
  const std::int64_t count = smaller(kKeys, p.tokens - first);
  float* kt = scratch;                     // [D,kKeys]
  float* vt = kt + kKeys * p.head_size;    // [D,kKeys]
  float* k = vt + kKeys * p.head_size;     // [kKeys,padded]
  float* dk = k + kKeys * p.padded;        // [kKeys,padded]
  float* dv = dk + kKeys * p.padded;       // [kKeys,padded]
  float* prob = dv + kKeys * p.padded;     // [kBwdQueries,kKeys]
  float* ds = prob + kBwdQueries * kKeys;  // [kBwdQueries,kKeys]
  transpose<V, T>(p, at, first, count, 1, kt);
  transpose<V, T>(p, at, first, count, 2, vt);
  for (std::int64_t j = 0; j < count; ++j)
    copy_row<V>(p, token_of<T>(p, at, first + j, 1), 1, k + j * p.padded);
  for (std::int64_t begin = 0; begin < p.queries; begin += kBwdQueries) {
    const std::int64_t rows = smaller(kBwdQueries, p.queries - begin);
    const std::int64_t row = at.nh * p.queries + begin;
    const float* q = p.packed_q + row * p.padded;
    const float* d_o = p.packed_do + row * p.padded;
    float* dq = p.dq + at.block * p.query_size() + row * p.padded;
    gemm<V>(rows, kKeys, p.head_size, {q, p.padded, 1}, kt, kKeys, prob, kKeys, false);
    gemm<V>(rows, kKeys, p.head_size, {d_o, p.padded, 1}, vt, kKeys, ds, kKeys, false);
    for (std::int64_t i = 0; i < rows; ++i) {
      const V lse(p.lse[at.nh * p.lse_stride + begin + i]), delta(p.delta[row + i]);
      for (std::int64_t j = 0; j < kKeys; j += V::kWidth) {
        float* pij = prob + i * kKeys + j;
        float* dsij = ds + i * kKeys + j;
        const V e = exp(V::load(pij) - lse);
        e.store(pij);
        (e * (V::load(dsij) - delta)).store(dsij);
      }
    }
    gemm<V>(count, p.padded, rows, {prob, 1, kKeys}, d_o, p.padded, dv, p.padded, begin > 0);
    gemm<V>(count, p.padded, rows, {ds, 1, kKeys}, q, p.padded, dk, p.padded, begin > 0);
    gemm<V>(rows, p.padded, count, {ds, kKeys, 1}, k, p.padded, dq, p.padded, true);
  }
  T* out =
      static_cast<T*>(p.dqkv) + (at.n * p.tokens + first) * p.dqkv_stride + at.h * p.head_stride;
  for (std::int64_t j = 0; j < count; ++j)
    for_each_vector<V>(p.head_size, [&](auto step) {
      T* token = out + j * p.dqkv_stride;
      step.store(step.load(dk + j * p.padded), token + p.part_stride);
      step.store(step.load(dv + j * p.padded), token + 2 * p.part_stride);
    });
}

template <class V, class T>
void backward(const Backward& p, std::int64_t task, float* scratch) {
  const Place at(p, task, p.chunks);
  float* dq = p.dq + at.block * p.query_size() + at.nh * p.queries * p.padded;
  for (std::int64_t i = 0; i < p.queries * p.padded; ++i) dq[i] = 0;
  const std::int64_t end = (at.block + 1) * p.key_blocks() / p.chunks;
  for (std::int64_t block = at.block * p.key_blocks() / p.chunks; block < end; ++block)
    key_block<V, T>(p, at, block, scratch);
}

/// dq = scale * the chunks' shares, in order; zeros where a token asked nothing.
template <class V, class T>
void merge(const Backward& p, std::int64_t task) {
  const Place at(p, task, blocks_of(p.tokens, kBwdQueries));
  const std::int64_t first = at.block * kBwdQueries;
  for (std::int64_t i = first; i < smaller(p.tokens, first + kBwdQueries); ++i) {
    T* out = static_cast<T*>(p.dqkv) + (at.n * p.tokens + i) * p.dqkv_stride + at.h * p.head_stride;
    const float* dq = p.dq + (at.nh * p.queries + i) * p.padded;
    for_each_vector<V>(p.head_size, [&](auto step) {
      V total(0.0f);
      if (i < p.queries)
        for (std::int64_t chunk = 0; chunk < p.chunks; ++chunk)
          total += step.load(dq + chunk * p.query_size());
      step.store(total * V(p.scale), out);
    });
  }
}

template <class V, class T>
Tasks tasks_of() {
  return {pack<V, T>, forward<V, T>, bwd_pack<V, T>, backward<V, T>, merge<V, T>};
}

template <class V>
Tasks tasks_for(Element element) {
  switch (element) {
    case Element::f16:
      return tasks_of<V, f16>();
    case Element::bf16:
      return tasks_of<V, bf16>();
    case Element::f32:
      break;
  }
  return tasks_of<V, float>();
}

}  // namespace tiller::flash
