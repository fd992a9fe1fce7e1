#include "kernels/conv2d/indirect.h"

#include <array>

#include "kernels/conv2d/sizes.h"
#include "kernels/conv2d/taps.h"
#include "kernels/gemm/floats.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/isa.h"
#include "kernels/gemm/outer.h"
#include "kernels/gemm/pack.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

// What a convolution of either direction reads and writes.
struct Problem {
  std::vector<Tensor> sources;  // [N,H,W,.] concatenated
  std::int64_t height, width;   // of the sources
  Axis rows, columns;
  Tensor w;
  bool transposed;
  Tensor y0, y1;              // outputs, split by columns
  Tensor bias, second_bias;   // or none
  std::vector<Tensor> skips;  // operands of the 1x1 convolution, at y's resolution
  Tensor skip_w;              // or none
  Tensor residual, stats;     // or none
  bool residual_up2x = false;
};

Problem problem_of(const Conv2dFwdArgs& args) {
  Problem p{{args.x0},
            args.x0.dim(1),
            args.x0.dim(2),
            forward_axis(args.w.dim(1), args.geometry),
            forward_axis(args.w.dim(2), args.geometry),
            args.w,
            false,
            args.y,
            {},
            args.bias,
            args.skip_bias,
            {},
            args.skip_w,
            args.residual,
            args.stats,
            args.residual_up2x};
  if (args.x1) p.sources.push_back(args.x1);
  if (args.skip0) p.skips.push_back(args.skip0);
  if (args.skip1) p.skips.push_back(args.skip1);
  return p;
}

Problem problem_of(const Conv2dDgradArgs& args) {
  return {{args.dy},
          args.dy.dim(1),
          args.dy.dim(2),
          dgrad_axis(args.w.dim(1), args.geometry),
          dgrad_axis(args.w.dim(2), args.geometry),
          args.w,
          true,
          args.dx0,
          args.dx1,
          {},
          {},
          {},
          {},
          {},
          {}};
}

// The taps of one phase, as offsets into the sources.
struct Phase {
  std::vector<std::array<std::int64_t, 2>> offsets;
  PackForm form;
};

PackForm pack_form(const Problem& p, const Tensor& w, std::int64_t panel_columns) {
  return {w.dim(0), w.dim(1) * w.dim(2), w.dim(3), {}, panel_columns, p.transposed, p.y0.dtype()};
}

Phase phase_of(const Problem& p, const AxisPhase& down, const AxisPhase& across,
               std::int64_t panel_columns) {
  Phase phase{{}, pack_form(p, p.w, panel_columns)};
  for (const AxisTap& r : down)
    for (const AxisTap& s : across) {
      phase.offsets.push_back({r.offset, s.offset});
      std::vector<std::int64_t>& group = phase.form.groups.emplace_back();
      for (const std::int64_t tap_r : r.taps)
        for (const std::int64_t tap_s : s.taps) group.push_back(tap_r * p.w.dim(2) + tap_s);
    }
  return phase;
}

// Everything of a call but the packed weights, laid out in the workspace.
class Plan {
 public:
  Plan(const Problem& problem, const Microkernels& kernels, void* workspace)
      : p_(problem), arena_(workspace) {
    for (const Tensor& t : p_.sources) sources_.push_back(float_rows(t, arena_));
    for (const Tensor& t : p_.skips) skips_.push_back(float_rows(t, arena_));
    std::int64_t longest = 1;
    for (const Tensor& t : p_.sources) longest = std::max(longest, t.cols());
    zeros_ = arena_.take<float>(longest);
    if (!arena_.measuring()) std::fill(zeros_, zeros_ + longest, 0.0f);
    const DType dtype = p_.y0.dtype();
    if (reads_frozen(p_.w, dtype) && (!p_.skip_w || reads_frozen(p_.skip_w, dtype)))
      unpacked_ = arena_.take<float>(threads() * kFreshFloats);
    for (std::int64_t e = 0; e < p_.rows.step; ++e)
      for (std::int64_t f = 0; f < p_.columns.step; ++f) add_phase(kernels, e, f);
  }

  std::size_t bytes() const { return arena_.used(); }

  void run() {
    for (std::size_t i = 0; i < gemms_.size(); ++i) {
      Gemm& gemm = gemms_[i];
      std::vector<Tensor> kept;  // packed weights
      const auto add_weight = [&](const Tensor& w, const PackForm& form,
                                  const std::vector<Tensor>& sources, std::int64_t segment) {
        if (gemm.unpacked) return add_fresh(gemm, w, form, sources, segment);
        kept.push_back(packed(w, form));
        add_runs(gemm, kept.back(), form, sources, segment);
      };
      add_weight(p_.w, phases_[i].form, p_.sources, 0);
      if (p_.skip_w) {
        PackForm form = pack_form(p_, p_.skip_w, gemm.panel_columns());
        form.groups = {{0}};
        add_weight(p_.skip_w, form, p_.skips,
                   static_cast<std::int64_t>(phases_[i].offsets.size() * sources_.size()));
      }
      launch("indirection", gemm.all_tiles(), [&](std::int64_t tile) {
        fill_tile_pointers(gemm, tile, zeros_, [&](std::int64_t row, const float** to) {
          point(gemm, phases_[i], row, to);
        });
      });
      run_gemm(gemm);
    }
    if (!p_.stats) return;
    std::vector<Moments> phases;
    for (const Gemm& gemm : gemms_) phases.push_back(moments_of(gemm));
    merge_moments(phases, p_.stats);
  }

 private:
  void add_phase(const Microkernels& kernels, std::int64_t e, std::int64_t f) {
    const std::int64_t height = (p_.y0.dim(1) - e + p_.rows.step - 1) / p_.rows.step;
    const std::int64_t width = (p_.y0.dim(2) - f + p_.columns.step - 1) / p_.columns.step;
    if (height <= 0 || width <= 0) return;
    Gemm gemm{};
    gemm.kernels = &kernels;
    gemm.columns = p_.y0.cols() + (p_.y1 ? p_.y1.cols() : 0);
    gemm.narrow = gemm.columns <= kernels.narrow_columns;
    // Statistics are per image; otherwise all images' rows are one sequence.
    gemm.images = p_.stats ? p_.y0.dim(0) : 1;
    gemm.image_rows = height * width * (p_.stats ? 1 : p_.y0.dim(0));
    phases_.push_back(phase_of(p_, p_.rows.phases[static_cast<std::size_t>(e)],
                               p_.columns.phases[static_cast<std::size_t>(f)],
                               gemm.panel_columns()));
    gemm.segments =
        static_cast<std::int64_t>(phases_.back().offsets.size() * sources_.size() + skips_.size());
    for (const std::vector<Tensor>* list : {&p_.sources, &p_.skips})
      for (const Tensor& t : *list) gemm.row_floats += t.cols();
    gemm.dtype = p_.y0.dtype();
    gemm.y0 = p_.y0;
    gemm.y1 = p_.y1;
    gemm.unpacked = unpacked_;
    gemm.residual = p_.residual;
    gemm.residual_up2x = p_.residual_up2x;
    gemm.map = {height, width, p_.y0.dim(1), p_.y0.dim(2), p_.rows.step, p_.columns.step, e, f};
    if (p_.bias || p_.second_bias) {
      float* bias = arena_.take<float>(gemm.padded_columns());
      if (!arena_.measuring())
        padded_bias(p_.bias, p_.second_bias, gemm.dtype, gemm.padded_columns(), bias);
      gemm.bias = bias;
    }
    if (p_.stats) gemm.moments = arena_.take<float>(gemm.all_tiles() * 2 * gemm.padded_columns());
    gemm.table = arena_.take<const float*>(gemm.all_tiles() * gemm.segments * kMaxTileRows);
    gemms_.push_back(gemm);
  }

  // One run per tap and source; a packed group holds the sources' channels one behind the other.
  static void add_runs(Gemm& gemm, const Tensor& w, const PackForm& form,
                       const std::vector<Tensor>& sources, std::int64_t segment) {
    const float* b = w.data<float>();
    for (std::size_t group = 0; group < form.groups.size(); ++group)
      for (const Tensor& source : sources) {
        gemm.runs.push_back({b, form.panel_stride(), segment++, 0, source.cols()});
        b += source.cols() * form.columns;
      }
  }

  // As add_runs(), of a weight that is unpacked as it is used.
  static void add_fresh(Gemm& gemm, const Tensor& w, const PackForm& form,
                        const std::vector<Tensor>& sources, std::int64_t segment) {
    const auto step = static_cast<std::int64_t>(sources.size());
    std::int64_t channel = 0;
    for (const Tensor& source : sources) {
      add_stretches(w, form, *gemm.kernels, channel, channel + source.cols(), segment++, step,
                    gemm.fresh);
      channel += source.cols();
    }
  }

  // The pointers of one row of the product.
  void point(const Gemm& gemm, const Phase& phase, std::int64_t row, const float** to) const {
    const std::int64_t pixels = gemm.map.height * gemm.map.width;
    const std::int64_t n = row / pixels, pixel = row % pixels;
    const std::int64_t top = pixel / gemm.map.width * p_.rows.stride;
    const std::int64_t left = pixel % gemm.map.width * p_.columns.stride;
    for (const auto& [down, across] : phase.offsets) {
      const std::int64_t h = top + down, w = left + across;
      const bool inside = h >= 0 && h < p_.height && w >= 0 && w < p_.width;
      for (const FloatRows& source : sources_) {
        *to = inside ? source.row((n * p_.height + h) * p_.width + w) : zeros_;
        to += kMaxTileRows;
      }
    }
    for (const FloatRows& skip : skips_) {
      *to = skip.row(gemm.map(row).row);
      to += kMaxTileRows;
    }
  }

  const Problem& p_;
  Arena arena_;
  std::vector<FloatRows> sources_, skips_;
  float* zeros_;
  float* unpacked_ = nullptr;  // for weights that are unpacked as they are used
  std::vector<Phase> phases_;
  std::vector<Gemm> gemms_;
};

Outer outer_of(const Conv2dWgradArgs& args, const Microkernels& kernels, const ConvSizes& z) {
  Outer outer{&kernels, args.dy, z.r * z.s, {{args.x0, 0}}, false, {}, args.dw, args.dbias};
  if (args.x1) outer.sources.push_back({args.x1, z.c0});
  const ConvGeometry& g = args.geometry;
  if (z.r * z.s == 1 && g.stride == 1 && g.pad == 0 && !g.up2x) return outer;
  outer.rows = [&z](std::int64_t tap, std::int32_t* rows) {
    const std::int64_t r = tap / z.s, s = tap % z.s;
    for (std::int64_t n = 0; n < z.n; ++n)
      for (std::int64_t p = 0; p < z.p; ++p)
        for (std::int64_t q = 0; q < z.q; ++q)
          *rows++ = static_cast<std::int32_t>(z.source_row(n, p, q, r, s));
  };
  return outer;
}

}  // namespace

template <class Isa, class Args>
bool conv2d_indirect_supports(const Args& args) {
  return Isa::available() && is_floats(args.dtype());
}

template <class Isa, class Args>
std::size_t conv2d_indirect_workspace(const Args& args) {
  if constexpr (std::is_same_v<Args, Conv2dWgradArgs>) {
    const ConvSizes z(args);
    return outer_workspace(outer_of(args, Isa::kernels(), z));
  } else {
    const Problem problem = problem_of(args);
    return Plan(problem, Isa::kernels(), nullptr).bytes();
  }
}

template <class Isa, class Args>
void conv2d_indirect_run(const Args& args, void* workspace, Stream) {
  if constexpr (std::is_same_v<Args, Conv2dWgradArgs>) {
    const ConvSizes z(args);
    run_outer(outer_of(args, Isa::kernels(), z), workspace);
  } else {
    const Problem problem = problem_of(args);
    Plan(problem, Isa::kernels(), workspace).run();
  }
}

#define TILLER_INSTANTIATE(Isa, Args)                               \
  template bool conv2d_indirect_supports<Isa>(const Args&);         \
  template std::size_t conv2d_indirect_workspace<Isa>(const Args&); \
  template void conv2d_indirect_run<Isa>(const Args&, void*, Stream);
TILLER_INSTANTIATE(Avx2, Conv2dFwdArgs)
TILLER_INSTANTIATE(Avx2, Conv2dDgradArgs)
TILLER_INSTANTIATE(Avx2, Conv2dWgradArgs)
TILLER_INSTANTIATE(Avx512, Conv2dFwdArgs)
TILLER_INSTANTIATE(Avx512, Conv2dDgradArgs)
TILLER_INSTANTIATE(Avx512, Conv2dWgradArgs)
#undef TILLER_INSTANTIATE

}  // namespace tiller
