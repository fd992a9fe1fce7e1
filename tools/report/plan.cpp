#include "tools/report/plan.h"

#include <functional>

#include "autograd/ops.h"
#include "nn/optimizer.h"
#include "runtime/backend.h"

namespace tiller {

namespace {

struct Summer final : TraceSink {
  void on_op(const OpEvent& event) override {
    plan.cost += event.cost;
    ++plan.operations;
  }
  PassPlan plan;
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
  summer.plan.peak_bytes = meta.memory().peak - before;
  return summer.plan;
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
