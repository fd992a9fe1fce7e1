#pragma once
// The CPU rows v1_flash (AVX2) and v2_flash_avx512 of attention: blocks of queries against blocks
// of keys, with a running maximum and sum, so that no T x T matrix exists (Milakov & Gimelshein
// 2018; Dao et al. 2022). This header is plain data and function pointers: the AVX-512 file
// includes nothing else of the library that could leave an out-of-line copy compiled for AVX-512.
#include <cstddef>
#include <cstdint>

namespace tiller::flash {

constexpr std::int64_t kKeys = 64;        ///< keys of a block
constexpr std::int64_t kQueries = 32;     ///< queries of a block, forward
constexpr std::int64_t kBwdQueries = 64;  ///< queries of a block, backward
constexpr std::int64_t kPad = 16;  ///< head sizes are padded to whole vectors of either width

constexpr std::int64_t blocks_of(std::int64_t n, std::int64_t size) {
  return (n + size - 1) / size;
}

/// What both directions know. Strides count elements.
struct Problem {
  const void* qkv;  // [N,T,3C]
  std::int64_t qkv_stride, part_stride, head_stride;
  const void* o;  // [N,Tq,C]
  std::int64_t o_stride;
  float* lse;  // [N,NH,Tq], or null
  std::int64_t lse_stride;
  std::int64_t samples, heads, tokens, queries, head_size;
  std::int64_t padded;  ///< head_size rounded up to kPad
  float scale;          ///< D^-1/2

  std::int64_t key_blocks() const { return blocks_of(tokens, kKeys); }
};

struct Forward : Problem {
  void* out;       // o
  float* keys;     // [N,NH,key blocks,D,kKeys]: k transposed, zeros behind the last key
  float* values;   // [N,NH,key blocks,kKeys,padded]
  float* scratch;  // per thread: scratch_size()
  std::int64_t query_blocks() const { return blocks_of(queries, kQueries); }
  std::int64_t packed_size() const {  ///< of keys and values together
    return samples * heads * key_blocks() * kKeys * (head_size + padded);
  }
  std::int64_t scratch_size() const { return kQueries * (2 * padded + kKeys) + 2 * kQueries; }
};

struct Backward : Problem {
  const void* d_o;  // [N,Tq,C]
  std::int64_t d_o_stride;
  void* dqkv;  // [N,T,3C]
  std::int64_t dqkv_stride;
  std::int64_t chunks;  ///< runs of key blocks that are worked on at the same time
  float* packed_q;      // [N,NH,Tq,padded]: q times scale
  float* packed_do;     // [N,NH,Tq,padded]
  float* delta;         // [N,NH,Tq]: rowsum(do * o)
  float* dq;            // [chunks,N,NH,Tq,padded]: what a chunk's keys give to dq
  float* scratch;       // per thread: scratch_size()
  std::int64_t query_blocks() const { return blocks_of(queries, kBwdQueries); }
  std::int64_t query_size() const { return samples * heads * queries * padded; }
  std::int64_t scratch_size() const {  ///< k^T, v^T, k, dk, dv, P, dS
    return kKeys * (2 * head_size + 3 * padded) + 2 * kBwdQueries * kKeys;
  }
};

/// The work of one task of each launch, for one storage type and vector width.
struct Tasks {
  void (*pack)(const Forward&, std::int64_t task);  ///< task: sample, head, key block
  void (*forward)(const Forward&, std::int64_t task,
                  float* scratch);                       ///< sample, head, query block
  void (*bwd_pack)(const Backward&, std::int64_t task);  ///< sample, head, query block
  void (*backward)(const Backward&, std::int64_t task, float* scratch);  ///< sample, head, chunk
  void (*merge)(const Backward&, std::int64_t task);  ///< sample, head, block of kBwdQueries tokens
};

enum class Element { f32, f16, bf16 };
Tasks tasks_avx2(Element element);
Tasks tasks_avx512(Element element);

}  // namespace tiller::flash
