#include "kernels/optimizer/fast.h"

#include "kernels/blocks.h"
#include "kernels/optimizer/reference.h"
#include "kernels/simd.h"

namespace tiller {

namespace {

using V = f32x8;

// A piece of one tensor of a list. Parameters differ in size by factors of a million; pieces do
// not.
struct Piece {
  std::size_t tensor;
  std::int64_t begin, end;  // elements
};

std::vector<Piece> pieces_of(const std::vector<Tensor>& list) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < list.size(); ++i)
    for (std::int64_t e = 0; e < list[i].numel(); e += kTaskElements)
      pieces.push_back({i, e, std::min(list[i].numel(), e + kTaskElements)});
  return pieces;
}

// Calls body(piece's index, tensor, e, n) for every block of every piece.
template <class Body>
void launch_pieces(const char* kernel, const std::vector<Piece>& pieces, const Body& body) {
  launch(kernel, static_cast<std::int64_t>(pieces.size()), [&](std::int64_t task) {
    const Piece& piece = pieces[static_cast<std::size_t>(task)];
    for (std::int64_t e = piece.begin; e < piece.end; e += kBlockElements)
      body(static_cast<std::size_t>(task), piece.tensor, e,
           std::min(kBlockElements, piece.end - e));
  });
}

bool all_f32(const std::vector<Tensor>& list) {
  return std::all_of(list.begin(), list.end(),
                     [](const Tensor& t) { return t.dtype() == DType::f32; });
}
bool none_f64(const std::vector<Tensor>& list) {
  return std::none_of(list.begin(), list.end(),
                      [](const Tensor& t) { return t.dtype() == DType::f64; });
}

// Sum of the squares of scale * x[i], in f64.
double sum_squares(const float* x, std::int64_t n, double scale) {
  const __m256d factor = _mm256_set1_pd(scale);
  __m256d sum[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(),
                    _mm256_setzero_pd()};
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int j = 0; j < 4; ++j) {
      const __m256d v = _mm256_mul_pd(_mm256_cvtps_pd(_mm_loadu_ps(x + i + 4 * j)), factor);
      sum[j] = _mm256_fmadd_pd(v, v, sum[j]);
    }
  alignas(32) double lane[4];
  _mm256_store_pd(lane,
                  _mm256_add_pd(_mm256_add_pd(sum[0], sum[1]), _mm256_add_pd(sum[2], sum[3])));
  double total = (lane[0] + lane[1]) + (lane[2] + lane[3]);
  for (; i < n; ++i) {
    const double v = static_cast<double>(x[i]) * scale;
    total += v * v;
  }
  return total;
}

}  // namespace

bool adamw_fast_supports(const AdamWArgs& args) { return all_f32(args.p); }
bool ema_fast_supports(const EmaArgs& args) { return all_f32(args.ema); }
bool norm_fast_supports(const NormArgs& args) { return none_f64(args.x); }
bool scale_all_fast_supports(const ScaleAllArgs& args) { return none_f64(args.x); }

void adamw_fast(const AdamWArgs& args, void*, Stream) {
  const AdamWScalars k(args);
  const auto all = [](double x) { return V(static_cast<float>(x)); };
  const V grad_scale = all(k.grad_scale), decay = all(k.decay), eps = all(k.eps);
  const V beta1 = all(k.beta1), rest1 = all(k.one_minus_beta1);
  const V beta2 = all(k.beta2), rest2 = all(k.one_minus_beta2);
  const V step = all(k.step_size), correction = all(k.root_correction2);
  const std::vector<Piece> pieces = pieces_of(args.p);
  launch_pieces("adamw", pieces, [&](std::size_t, std::size_t i, std::int64_t e, std::int64_t n) {
    BlockBuffer b0, b1, b2, b3;
    // What is updated is a block's input and output at once: in place, or in the same buffer.
    const float* grad = read_block(args.grad[i], e, n, b0.data);
    const float* p_in = read_block(args.p[i], e, n, b1.data);
    const float* m_in = read_block(args.m[i], e, n, b2.data);
    const float* v_in = read_block(args.v[i], e, n, b3.data);
    float* p = block_target(args.p[i], e, b1.data);
    float* m = block_target(args.m[i], e, b2.data);
    float* v = block_target(args.v[i], e, b3.data);
    for (Step<V> s(n); s; s.next()) {
      const V g = grad_scale * s.load(grad);
      const V m_new = fma(beta1, s.load(m_in), rest1 * g);
      const V v_new = fma(beta2, s.load(v_in), rest2 * (g * g));
      const V denominator = sqrt(v_new) / correction + eps;
      s.store(m_new, m);
      s.store(v_new, v);
      s.store(fma(decay, s.load(p_in), -(step * (m_new / denominator))), p);
    }
    write_block(args.p[i], e, n, p);
    write_block(args.m[i], e, n, m);
    write_block(args.v[i], e, n, v);
  });
  for (const Tensor& t : args.p) t.bump_version();
}

void ema_fast(const EmaArgs& args, void*, Stream) {
  const V rate(static_cast<float>(args.rate)), rest(static_cast<float>(1 - args.rate));
  const std::vector<Piece> pieces = pieces_of(args.ema);
  launch_pieces("ema", pieces, [&](std::size_t, std::size_t i, std::int64_t e, std::int64_t n) {
    BlockBuffer b0, b1;
    const float* p = read_block(args.p[i], e, n, b0.data);
    const float* old = read_block(args.ema[i], e, n, b1.data);
    float* ema = block_target(args.ema[i], e, b1.data);
    for (Step<V> s(n); s; s.next()) s.store(fma(rate, s.load(old), rest * s.load(p)), ema);
    write_block(args.ema[i], e, n, ema);
  });
  for (const Tensor& t : args.ema) t.bump_version();
}

void norm_fast(const NormArgs& args, void*, Stream) {
  const std::vector<Piece> pieces = pieces_of(args.x);
  std::vector<double> sums(pieces.size(), 0.0);
  launch_pieces("norm", pieces,
                [&](std::size_t piece, std::size_t i, std::int64_t e, std::int64_t n) {
                  BlockBuffer in;
                  sums[piece] += sum_squares(read_block(args.x[i], e, n, in.data), n, args.scale);
                });
  for (std::size_t width = 1; width < sums.size(); width *= 2)
    for (std::size_t i = 0; i + width < sums.size(); i += 2 * width) sums[i] += sums[i + width];
  auto* out = args.out.data<double>();  // [2]
  out[0] = std::sqrt(sums.empty() ? 0.0 : sums[0]);
  // Squares of f32 values cannot overflow f64, and an infinity or a NaN stays in every sum.
  out[1] = std::isfinite(out[0]) ? 0 : 1;
}

void scale_all_fast(const ScaleAllArgs& args, void*, Stream) {
  const V scale(static_cast<float>(args.scale));
  const std::vector<Piece> pieces = pieces_of(args.x);
  launch_pieces("scale_all", pieces,
                [&](std::size_t, std::size_t i, std::int64_t e, std::int64_t n) {
                  BlockBuffer buffer;
                  const float* in = read_block(args.x[i], e, n, buffer.data);
                  float* out = block_target(args.x[i], e, buffer.data);
                  for (Step<V> s(n); s; s.next()) s.store(s.load(in) * scale, out);
                  write_block(args.x[i], e, n, out);
                });
  for (const Tensor& t : args.x) t.bump_version();
}

}  // namespace tiller
