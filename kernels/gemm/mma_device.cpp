#include "kernels/gemm/mma_rows.h"
#include "kernels/group_norm/kernels.h"
#include "runtime/counters.h"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

int narrow(std::int64_t size) { return static_cast<int>(size); }

bool in_vectors(const Tensor& t) {
  return !t || (t.aligned(16) && static_cast<std::size_t>(t.cols()) * size_of(t.dtype()) % 16 == 0);
}

void normed_product(int tile, const MmaParams& p, Stream stream) {
  switch (tile) {
    case 0:
      return mma_normed_product<64, 64>(p, stream);
    case 3:
      return mma_normed_product<128, 128>(p, stream);
    default:
      return mma_normed_product<128, 96>(p, stream);
  }
}

void product(int tile, const MmaParams& p, Stream stream) {
  if (p.norm.moments) return normed_product(tile, p, stream);
  switch (tile) {
    case 0:
      return mma_product<64, 64>(p, stream);
    case 1:
      return mma_product<128, 64>(p, stream);
    case 2:
      return mma_product<64, 128>(p, stream);
    case 3:
      return mma_product<128, 128>(p, stream);
    case 4:
      return mma_product<128, 96>(p, stream);
    case 5:
      return mma_product<128, 192>(p, stream);
    default:
      return mma_product<128, 256>(p, stream);
  }
}

}  // namespace

MmaSources mma_sources(const Tensor& x0, const Tensor& x1, Arena& arena, Stream stream) {
  if (!x0) return {};
  const int c0 = narrow(x0.cols()), c = c0 + (x1 ? narrow(x1.cols()) : 0);
  if (in_vectors(x0) && in_vectors(x1)) return {view_of(x0), view_of(x1), c0, c};
  const int vector = narrow(16 / static_cast<std::int64_t>(size_of(x0.dtype())));
  const int padded = (c + vector - 1) / vector * vector;
  const std::int64_t bytes = x0.rows() * padded * static_cast<std::int64_t>(size_of(x0.dtype()));
  const View to{arena.take<std::byte>(bytes), x0.rows(), padded, padded, x0.dtype()};
  if (!arena.measuring()) pad_channels({view_of(x0), view_of(x1), to}, stream);
  return {to, {}, padded, padded};
}

Tensor weight_for(const Tensor& w, const WeightRequest& request, Stream stream) {
  const WeightForm form = request.form;
  if (form == WeightForm::forward && w.dtype() == request.dtype && w.aligned(16) &&
      w.cols() == request.padded)
    return w;
  WeightParams p{};
  p.from = view_of(w);
  p.k = narrow(w.dim(0));
  p.r = w.rank() == 4 ? narrow(w.dim(1)) : 1;
  p.s = w.rank() == 4 ? narrow(w.dim(2)) : 1;
  p.c = narrow(w.cols());
  p.padded = request.padded;
  p.form = form;
  p.stride = request.stride;
  p.phase_r = request.phase_r;
  p.phase_s = request.phase_s;
  const auto taps = [&](int all, int phase) {
    return form == WeightForm::up2x ? all + 1 : (all - phase + p.stride - 1) / p.stride;
  };
  p.rows = taps(p.r, p.phase_r);
  p.columns = taps(p.s, p.phase_s);
  const std::string key =
      fmt::format("mma_{}_{}_{}_{}_{}_{}", name(request.dtype), static_cast<int>(form), p.padded,
                  p.stride, p.phase_r, p.phase_s);
  return derived(w, key.c_str(), [&] {
    const Tensor to =
        Tensor::empty({form == WeightForm::forward ? p.k : p.c, p.rows, p.columns, p.padded},
                      request.dtype, w.device());
    p.to = view_of(to);
    weight_form(p, stream);
    return to;
  });
}

void run_product(MmaParams p, const MmaChoice& choice, const Tensor& y, const Tensor& stats,
                 Arena& arena, Stream stream) {
  const MmaTile& tile = kMmaTiles[choice.tile];
  const ConvShape& z = p.z;
  const std::int64_t m = std::int64_t{z.n} * z.p * z.q;
  const MmaSize size{m, z.k, std::int64_t{z.r} * z.s * z.c + z.skip_c, p.x0.dtype};
  p.splits = choice.split ? split_count(tile, size) : 1;
  const std::int64_t across = (z.k + tile.width - 1) / tile.width;
  const std::int64_t tiles = (m + tile.rows - 1) / tile.rows * across;
  if (p.splits > 1) p.partial = arena.take<float>(p.splits * tiles * tile.rows * tile.width);
  // Moments come with the tiles where samples are whole pieces; else they are a second pass.
  const std::int64_t pixels = std::int64_t{z.p} * z.q;
  const bool with_tiles = stats && pixels % kPieceRows == 0;
  float* second_pass = nullptr;
  if (with_tiles) {
    p.most_shares = narrow(most_shares(pixels, tile.rows));
    if (p.most_shares > 1)
      p.shares = arena.take<float>(std::int64_t{z.n} * p.most_shares * z.k * 2);
  } else if (stats) {
    second_pass = arena.take<float>(stats.numel() * group_norm_chunks(pixels));
  }
  if (arena.measuring()) return;
  if (with_tiles) p.stats = stats.data<float>();
  const std::int64_t part_counters = p.splits > 1 ? tiles : 0;
  const std::int64_t sample_counters = p.most_shares > 1 ? z.n * across : 0;
  if (part_counters + sample_counters > 0) {
    p.part_counters = counters(stream, part_counters + sample_counters);
    p.sample_counters = p.part_counters + part_counters;
  }
  product(choice.tile, p, stream);
  if (second_pass)
    channel_moments_v1({view_of(y), z.n, pixels, second_pass, stats.data<float>()}, stream);
}

void run_wgrad_product(MmaWgradParams p, Arena& arena, Stream stream) {
  const ConvShape& z = p.z;
  const std::int64_t columns = std::int64_t{z.r} * z.s * z.c;
  const int tile = wgrad_tile(p.k, columns);
  const std::int64_t tiles = (p.k + tile - 1) / tile * ((columns + tile - 1) / tile);
  const WgradSplit split = split_wgrad(std::int64_t{z.n} * z.p * z.q, tiles);
  p.chunk = narrow(split.chunk);
  p.splits = narrow(split.splits);
  p.pitch = (std::int64_t{p.k} * z.r * z.s * p.c + p.k + 1) / 2 * 2;
  if (p.splits > 1) p.partial = arena.take<float>(p.splits * p.pitch);
  if (arena.measuring()) return;
  if (tile == 64)
    mma_wgrad<64>(p, stream);
  else
    mma_wgrad<128>(p, stream);
  if (p.splits > 1) wgrad_merge(p, stream);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
