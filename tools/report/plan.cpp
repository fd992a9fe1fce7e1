#include "tools/report/plan.h"

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "autograd/ops.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/gemm/fresh.h"
#include "kernels/linear/linear.h"
#include "nn/optimizer.h"
#include "runtime/backend.h"

namespace tiller {

namespace {

class Summer final : public TraceSink {
 public:
  void on_op(const OpEvent& event) override {
    plan_.cost += event.cost;
    plan_.calls.push_back(event.cost);
    ++plan_.operations;
    if (event.operation == &conv2d_fwd) {
      const auto& args = *static_cast<const Conv2dFwdArgs*>(event.args);
      add_convolution(args.w, args.geometry, args.dtype(), event);
      if (args.skip_w) add_form(args.skip_w, 1, args.dtype(), event);
    } else if (event.operation == &conv2d_dgrad) {
      const auto& args = *static_cast<const Conv2dDgradArgs*>(event.args);
      add_convolution(args.w, args.geometry, args.dtype(), event);
    } else if (event.operation == &linear_fwd) {
      const auto& args = *static_cast<const LinearFwdArgs*>(event.args);
      add_form(args.w, 1, args.dtype(), event);
    } else if (event.operation == &linear_dgrad) {
      const auto& args = *static_cast<const LinearDgradArgs*>(event.args);
      add_form(args.w, 1, args.dtype(), event);
    }
  }
  PassPlan plan() const {
    PassPlan plan = plan_;
    for (const auto& [form, bytes] : forms_) plan.packed_bytes += bytes;
    return plan;
  }

 private:
  // A Winograd row keeps 6x6 numbers for 3x3 weights; behind an up-sampling, a direct one keeps four
  // phases of 2x2 taps.
  void add_convolution(const Tensor& w, const ConvGeometry& geometry, DType dtype,
                       const OpEvent& event) {
    const auto taps = static_cast<double>(w.dim(1) * w.dim(2));
    double factor = 1;
    if (std::string_view(event.row).find("winograd") != std::string_view::npos)
      factor = 36 / taps;
    else if (geometry.up2x)
      factor = 16 / taps;
    add_form(w, factor, dtype, event);
  }
  // Counted once however often the weight is used in that way; always f32. A frozen weight is
  // read where it lies.
  void add_form(const Tensor& w, double factor, DType dtype, const OpEvent& event) {
    if (reads_frozen(w, dtype)) return;
    forms_[{w.storage().get(), std::string(event.op) + event.row}] =
        static_cast<std::size_t>(4 * factor * static_cast<double>(w.numel()));
  }

  PassPlan plan_;
  std::map<std::pair<const Storage*, std::string>, std::size_t> forms_;
};

PassPlan measure(const std::function<void()>& pass) {
  Summer summer;
  Backend& meta = backend(kMeta);
  meta.reset_peak();
  const std::size_t before = meta.memory().live;
  {
    const TraceGuard guard(summer, TraceLevel::ops);
    pass();
  }
  PassPlan plan = summer.plan();
  plan.peak_bytes = meta.memory().peak - before;
  return plan;
}

}  // namespace

PlannedInputs planned_inputs(const Network& planned, std::int64_t batch, std::int64_t height,
                             std::int64_t width) {
  const std::int64_t size = planned.image_size();
  const std::int64_t c = planned.classifier ? planned.classifier->config().in_channels
                                            : planned.unet->config().in_channels;
  PlannedInputs in;
  in.x = Tensor::empty({batch, height ? height : size, width ? width : size, c}, DType::f32, kMeta);
  in.t = Tensor::empty({batch}, DType::f32, kMeta);
  if (planned.num_classes() > 0) in.y = Tensor::empty({batch}, DType::i64, kMeta);
  if (planned.unet && planned.unet->config().super_resolution)
    in.low_res = Tensor::empty({batch, in.x.dim(1) / 4, in.x.dim(2) / 4, c}, DType::f32, kMeta);
  return in;
}

Var planned_output(const Network& planned, const PlannedInputs& in, const Var& x) {
  if (planned.classifier) return (*planned.classifier)(x, in.t);
  return (*planned.unet)(x, in.t, in.y, in.low_res ? Var(in.low_res) : Var());
}

PassPlan plan_forward(const Network& planned, std::int64_t batch, std::int64_t height,
                      std::int64_t width) {
  const PlannedInputs in = planned_inputs(planned, batch, height, width);
  return measure([&] { planned_output(planned, in, in.x); });
}

PassPlan plan_gradient(const Network& planned, std::int64_t batch) {
  TILLER_CHECK(planned.classifier, "only a classifier has an input gradient to plan");
  const PlannedInputs in = planned_inputs(planned, batch);
  return measure([&] { planned.classifier->log_prob_gradient(in.x, in.t, in.y); });
}

PassPlan plan_training(const Network& planned, std::int64_t batch) {
  const PlannedInputs in = planned_inputs(planned, batch);
  ParameterGradients gradients(planned.parameters());
  return measure([&] {
    backward_microbatches(gradients, batch, 0, [&](std::int64_t, std::int64_t) {
      return reduce_mean(planned_output(planned, in, in.x));
    });
  });
}

}  // namespace tiller
