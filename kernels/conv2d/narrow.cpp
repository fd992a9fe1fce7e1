#include "kernels/conv2d/narrow.h"

#include <algorithm>

#include "kernels/conv2d/pixels.h"
#include "kernels/gemm/arena.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/isa.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

constexpr std::int64_t kTaps = 9;
constexpr std::int64_t kBand = 8;  // rows of y of a task; z has one more above and below

struct Problem {
  Pixels x, y;
  std::int64_t images;
  Tensor w, bias;
  bool transposed;  // x is dy, y is dx: the taps are reversed, and w's outputs are summed

  std::int64_t outputs() const { return y.channels; }
};

Problem problem_of(const Conv2dFwdArgs& args) {
  return {Pixels(args.x0), Pixels(args.y), args.y.dim(0), args.w, args.bias, false};
}
Problem problem_of(const Conv2dDgradArgs& args) {
  return {Pixels(args.dy), Pixels(args.dx0), args.dx0.dim(0), args.w, {}, true};
}

template <class Isa>
class Plan {
 public:
  Plan(const Problem& problem, void* workspace) : p_(problem), kernels_(Isa::kernels()) {
    Arena arena(workspace);
    taps_ = arena.take<float>(kTaps * p_.x.channels * kernels_.columns);
    packed_ = arena.take<float>(p_.x.channels * kernels_.columns);
    z_ = arena.take<float>(threads() * z_floats());
    bytes_ = arena.used();
  }

  std::size_t bytes() const { return bytes_; }

  void run() {
    pack();
    const std::int64_t bands = (p_.y.height + kBand - 1) / kBand;
    launch("conv2d_narrow", p_.images * bands, [&](std::int64_t task) {
      const std::int64_t n = task / bands, top = task % bands * kBand;
      const std::int64_t bottom = std::min(top + kBand, p_.y.height);
      float* const z = z_ + thread_index() * z_floats();
      multiply(n, std::max<std::int64_t>(top - 1, 0), std::min(bottom + 1, p_.y.height), z);
      for (std::int64_t h = top; h < bottom; ++h)
        for (std::int64_t w = 0; w < p_.y.width; ++w)
          gather(n, h, w, z, std::max<std::int64_t>(top - 1, 0));
    });
  }

 private:
  std::int64_t z_floats() const { return (kBand + 2) * p_.y.width * kernels_.columns; }

  // The weight as [elements of x][taps x outputs], zeros behind them.
  void pack() const {
    const std::int64_t columns = kernels_.columns, outputs = p_.outputs();
    kernels_.unpack.of(p_.transposed, false)(raw_weight(p_.w), 0, 0, p_.x.channels, taps_);
    std::fill_n(packed_, p_.x.channels * columns, 0.0f);
    for (std::int64_t tap = 0; tap < kTaps; ++tap) {
      const std::int64_t place = p_.transposed ? kTaps - 1 - tap : tap;
      for (std::int64_t c = 0; c < p_.x.channels; ++c)
        std::copy_n(taps_ + (tap * p_.x.channels + c) * columns, outputs,
                    packed_ + c * columns + place * outputs);
    }
  }

  // z of the rows [top, bottom).
  void multiply(std::int64_t n, std::int64_t top, std::int64_t bottom, float* z) const {
    const std::int64_t count = (bottom - top) * p_.x.width;
    const GemmRun run{packed_, 0, 0, 0, p_.x.channels};
    const Tiles tiles(count, kernels_.rows);
    for (std::int64_t t = 0; t < tiles.count; ++t) {
      const float* rows[kMaxTileRows];
      for (std::int64_t i = 0; i < tiles.rows(t); ++i)
        rows[i] = p_.x.at(n, top, 0) + (tiles.begin(t) + i) * p_.x.pixel;
      kernels_.tile[tiles.rows(t)](&run, 1, 0, rows, z + tiles.begin(t) * kernels_.columns, false);
    }
  }

  // One pixel of y. `first` is z's first row.
  void gather(std::int64_t n, std::int64_t h, std::int64_t w, const float* z,
              std::int64_t first) const {
    const std::int64_t outputs = p_.outputs();
    float sum[kTaps] = {};  // more than there are outputs
    for (std::int64_t tap = 0; tap < kTaps; ++tap) {
      const std::int64_t hh = h + tap / 3 - 1, ww = w + tap % 3 - 1;
      if (hh < 0 || hh >= p_.x.height || ww < 0 || ww >= p_.x.width) continue;
      const float* from = z + ((hh - first) * p_.x.width + ww) * kernels_.columns + tap * outputs;
      for (std::int64_t k = 0; k < outputs; ++k) sum[k] += from[k];
    }
    float* const y = p_.y.at(n, h, w);
    const auto* bias = p_.bias ? static_cast<const float*>(p_.bias.raw()) : nullptr;
    for (std::int64_t k = 0; k < outputs; ++k) y[k] = sum[k] + (bias ? bias[k] : 0);
  }

  const Problem& p_;
  const Microkernels& kernels_;
  float *taps_ = nullptr, *packed_ = nullptr, *z_ = nullptr;
  std::size_t bytes_ = 0;
};

bool narrow(const Tensor& w, const ConvGeometry& geometry, std::int64_t outputs,
            std::int64_t columns) {
  return w.dtype() == DType::f32 && w.dim(1) == 3 && w.dim(2) == 3 && geometry.stride == 1 &&
         geometry.pad == 1 && !geometry.up2x && outputs * kTaps <= columns;
}

bool supported(const Conv2dFwdArgs& args, std::int64_t columns) {
  return narrow(args.w, args.geometry, args.w.dim(0), columns) && !args.x1 && !args.skip_w &&
         !args.residual && !args.stats;
}
bool supported(const Conv2dDgradArgs& args, std::int64_t columns) {
  return narrow(args.w, args.geometry, args.w.dim(3), columns) && !args.dx1;
}

}  // namespace

template <class Isa, class Args>
bool conv2d_narrow_supports(const Args& args) {
  return Isa::available() && args.dtype() == DType::f32 && supported(args, Isa::kernels().columns);
}

template <class Isa, class Args>
std::size_t conv2d_narrow_workspace(const Args& args) {
  const Problem problem = problem_of(args);
  return Plan<Isa>(problem, nullptr).bytes();
}

template <class Isa, class Args>
void conv2d_narrow_run(const Args& args, void* workspace, Stream) {
  const Problem problem = problem_of(args);
  Plan<Isa>(problem, workspace).run();
}

#define TILLER_INSTANTIATE(Isa, Args)                             \
  template bool conv2d_narrow_supports<Isa>(const Args&);         \
  template std::size_t conv2d_narrow_workspace<Isa>(const Args&); \
  template void conv2d_narrow_run<Isa>(const Args&, void*, Stream);
TILLER_INSTANTIATE(Avx2, Conv2dFwdArgs)
TILLER_INSTANTIATE(Avx2, Conv2dDgradArgs)
TILLER_INSTANTIATE(Avx512, Conv2dFwdArgs)
TILLER_INSTANTIATE(Avx512, Conv2dDgradArgs)
#undef TILLER_INSTANTIATE

}  // namespace tiller
