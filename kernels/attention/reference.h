#pragma once
// The reference rows of attention: the readable specification, for every floating T. The T x T
// matrix exists one row at a time.
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/reference.h"

namespace tiller {

/// The D channels of part 0, 1 or 2 (q, k, v) of one token and head within a row of qkv.
template <class T, class Args>
T* qkv_at(const Tensor& qkv, const Args& args, std::int64_t n, std::int64_t token,
          std::int64_t part, std::int64_t head) {
  const std::int64_t head_size = qkv.dim(2) / 3 / args.heads;
  const QkvStrides strides = qkv_strides(args.order, args.heads, head_size);
  return row_of<T>(qkv, n * qkv.dim(1) + token) + part * strides.part + head * strides.head;
}

template <class T>
Acc<T> dot(const T* a, const T* b, std::int64_t n) {
  Acc<T> sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<Acc<T>>(a[i]) * static_cast<Acc<T>>(b[i]);
  return sum;
}

template <class T>
void attention_fwd_reference(const AttentionFwdArgs& args) {
  using A = Acc<T>;
  using std::exp;
  using std::log;
  const std::int64_t tokens = args.qkv.dim(1);
  const std::int64_t queries = args.one_query ? 1 : tokens;
  const std::int64_t head_size = args.qkv.dim(2) / 3 / args.heads;
  const A scale = 1 / std::sqrt(static_cast<double>(head_size));
  std::vector<A> p(static_cast<std::size_t>(tokens));       // one row of softmax(q k^T), [T]
  std::vector<A> sum(static_cast<std::size_t>(head_size));  // [D]
  for (std::int64_t n = 0; n < args.qkv.dim(0); ++n)
    for (std::int64_t h = 0; h < args.heads; ++h)
      for (std::int64_t i = 0; i < queries; ++i) {
        const T* q = qkv_at<const T>(args.qkv, args, n, i, 0, h);
        A largest = 0;
        for (std::int64_t j = 0; j < tokens; ++j) {
          A& s = p[static_cast<std::size_t>(j)];
          s = dot(q, qkv_at<const T>(args.qkv, args, n, j, 1, h), head_size) * scale;
          if (j == 0 || largest < s) largest = s;
        }
        A denominator = 0;
        for (A& pj : p) {
          pj = exp(pj - largest);
          denominator += pj;
        }
        for (A& s : sum) s = 0;
        for (std::int64_t j = 0; j < tokens; ++j) {
          const T* v = qkv_at<const T>(args.qkv, args, n, j, 2, h);
          for (std::int64_t d = 0; d < head_size; ++d)
            sum[static_cast<std::size_t>(d)] +=
                p[static_cast<std::size_t>(j)] * static_cast<A>(v[d]);
        }
        T* o = row_of<T>(args.o, n * queries + i) + h * head_size;
        for (std::int64_t d = 0; d < head_size; ++d)
          o[d] = static_cast<T>(sum[static_cast<std::size_t>(d)] / denominator);
        if (args.lse) row_of<A>(args.lse, n * args.heads + h)[i] = largest + log(denominator);
      }
}

/// With P = softmax(S), S = scale q k^T, O = P V:  dV = P^T dO;  dP = dO V^T;
/// dS = P (dP - rowsum(dO O));  dq = scale dS k;  dk = scale dS^T q.
template <class T>
void attention_bwd_reference(const AttentionBwdArgs& args) {
  using A = Acc<T>;
  using std::exp;
  const std::int64_t tokens = args.qkv.dim(1);
  const std::int64_t queries = args.one_query ? 1 : tokens;
  const std::int64_t head_size = args.qkv.dim(2) / 3 / args.heads;
  const auto size = static_cast<std::size_t>(tokens * head_size);
  const A scale = 1 / std::sqrt(static_cast<double>(head_size));
  for (std::int64_t n = 0; n < args.qkv.dim(0); ++n)
    for (std::int64_t h = 0; h < args.heads; ++h) {
      std::vector<A> dq(size, A(0)), dk(size, A(0)), dv(size, A(0));  // [T,D] each
      for (std::int64_t i = 0; i < queries; ++i) {
        const T* q = qkv_at<const T>(args.qkv, args, n, i, 0, h);
        const T* o = row_of<const T>(args.o, n * queries + i) + h * head_size;
        const T* d_o = row_of<const T>(args.d_o, n * queries + i) + h * head_size;
        const A lse = row_of<const A>(args.lse, n * args.heads + h)[i];
        const A delta = dot(d_o, o, head_size);
        for (std::int64_t j = 0; j < tokens; ++j) {
          const T* k = qkv_at<const T>(args.qkv, args, n, j, 1, h);
          const T* v = qkv_at<const T>(args.qkv, args, n, j, 2, h);
          const A p = exp(dot(q, k, head_size) * scale - lse);
          const A ds = p * (dot(d_o, v, head_size) - delta) * scale;
          for (std::int64_t d = 0; d < head_size; ++d) {
            const auto jd = static_cast<std::size_t>(j * head_size + d);
            dq[static_cast<std::size_t>(i * head_size + d)] += ds * static_cast<A>(k[d]);
            dk[jd] += ds * static_cast<A>(q[d]);
            dv[jd] += p * static_cast<A>(d_o[d]);
          }
        }
      }
      for (std::int64_t t = 0; t < tokens; ++t)
        for (std::int64_t d = 0; d < head_size; ++d) {
          const auto td = static_cast<std::size_t>(t * head_size + d);
          qkv_at<T>(args.dqkv, args, n, t, 0, h)[d] = static_cast<T>(dq[td]);
          qkv_at<T>(args.dqkv, args, n, t, 1, h)[d] = static_cast<T>(dk[td]);
          qkv_at<T>(args.dqkv, args, n, t, 2, h)[d] = static_cast<T>(dv[td]);
        }
    }
}

}  // namespace tiller
