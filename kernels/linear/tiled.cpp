#include "kernels/linear/tiled.h"

#include "kernels/gemm/floats.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/isa.h"
#include "kernels/gemm/outer.h"
#include "kernels/gemm/pack.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

struct Problem {
  Tensor x;
  bool silu;
  Tensor w;
  bool transposed;
  Tensor bias, residual, y;
};

Problem problem_of(const LinearFwdArgs& args) {
  return {args.x, args.silu_input, args.w, false, args.bias, args.residual, args.y};
}
Problem problem_of(const LinearDgradArgs& args) {
  return {args.dy, false, args.w, true, {}, {}, args.dx};
}

class Plan {
 public:
  Plan(const Problem& problem, const Microkernels& kernels, void* workspace)
      : p_(problem), arena_(workspace), gemm_{} {
    gemm_.kernels = &kernels;
    gemm_.columns = p_.y.cols();
    gemm_.narrow = gemm_.columns <= kernels.narrow_columns;
    gemm_.images = 1;
    gemm_.image_rows = p_.y.rows();
    gemm_.segments = 1;
    gemm_.row_floats = p_.x.cols();
    gemm_.dtype = p_.y.dtype();
    gemm_.y0 = p_.y;
    gemm_.residual = p_.residual;
    if (p_.bias) {
      float* bias = arena_.take<float>(gemm_.padded_columns());
      if (!arena_.measuring()) padded_bias(p_.bias, {}, gemm_.dtype, gemm_.padded_columns(), bias);
      gemm_.bias = bias;
    }
    if (reads_frozen(p_.w, gemm_.dtype))
      gemm_.unpacked = arena_.take<float>(threads() * kFreshFloats);
    if (strips()) {
      gemm_.strips = arena_.take<float>(p_.x.numel());
      return;
    }
    x_ = p_.silu ? silu_rows(p_.x, arena_) : float_rows(p_.x, arena_);
    gemm_.table = arena_.take<const float*>(gemm_.all_tiles() * kMaxTileRows);
  }

  std::size_t bytes() const { return arena_.used(); }

  void run() {
    const PackForm form{p_.w.dim(0),   1,          p_.w.dim(1), {{0}}, gemm_.panel_columns(),
                        p_.transposed, gemm_.dtype};
    Tensor w;
    if (reads_frozen(p_.w, gemm_.dtype)) {
      add_stretches(p_.w, form, *gemm_.kernels, 0, p_.x.cols(), 0, 1, gemm_.fresh);
    } else {
      w = packed(p_.w, form);
      gemm_.runs.push_back({w.data<float>(), form.panel_stride(), 0, 0, p_.x.cols()});
    }
    if (strips())
      launch("strips", gemm_.all_tiles(), [&](std::int64_t tile) {
        fill_tile_strips(gemm_, tile, static_cast<const float*>(p_.x.raw()), p_.x.row_stride(),
                         p_.x.cols());
      });
    else
      for (std::int64_t tile = 0; tile < gemm_.all_tiles(); ++tile)
        fill_tile_pointers(gemm_, tile, nullptr,
                           [&](std::int64_t row, const float** to) { *to = x_.row(row); });
    run_gemm(gemm_);
  }

 private:
  // Copying x into strips costs one pass over it, which enough panels pay back.
  static constexpr std::int64_t kMinPanels = 16;
  bool strips() const {
    return p_.x.dtype() == DType::f32 && !p_.silu && !gemm_.narrow &&
           p_.x.cols() % kStripElements == 0 && gemm_.image_rows > 1 &&
           gemm_.panels() >= kMinPanels;
  }

  const Problem& p_;
  Arena arena_;
  FloatRows x_;
  Gemm gemm_;
};

Outer outer_of(const LinearWgradArgs& args, const Microkernels& kernels) {
  return {&kernels, args.dy, 1, {{args.x, 0}}, args.silu_input, {}, args.dw, args.dbias};
}

}  // namespace

template <class Isa, class Args>
bool linear_tiled_supports(const Args& args) {
  if constexpr (std::is_same_v<Args, LinearFwdArgs>)
    if (args.norm) return false;
  return Isa::available() && is_floats(args.dtype());
}

template <class Isa, class Args>
std::size_t linear_tiled_workspace(const Args& args) {
  if constexpr (std::is_same_v<Args, LinearWgradArgs>) {
    return outer_workspace(outer_of(args, Isa::kernels()));
  } else {
    const Problem problem = problem_of(args);
    return Plan(problem, Isa::kernels(), nullptr).bytes();
  }
}

template <class Isa, class Args>
void linear_tiled_run(const Args& args, void* workspace, Stream) {
  if constexpr (std::is_same_v<Args, LinearWgradArgs>) {
    run_outer(outer_of(args, Isa::kernels()), workspace);
  } else {
    const Problem problem = problem_of(args);
    Plan(problem, Isa::kernels(), workspace).run();
  }
}

#define TILLER_INSTANTIATE(Isa, Args)                            \
  template bool linear_tiled_supports<Isa>(const Args&);         \
  template std::size_t linear_tiled_workspace<Isa>(const Args&); \
  template void linear_tiled_run<Isa>(const Args&, void*, Stream);
TILLER_INSTANTIATE(Avx2, LinearFwdArgs)
TILLER_INSTANTIATE(Avx2, LinearDgradArgs)
TILLER_INSTANTIATE(Avx2, LinearWgradArgs)
TILLER_INSTANTIATE(Avx512, LinearFwdArgs)
TILLER_INSTANTIATE(Avx512, LinearDgradArgs)
TILLER_INSTANTIATE(Avx512, LinearWgradArgs)
#undef TILLER_INSTANTIATE

}  // namespace tiller
