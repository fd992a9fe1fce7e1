#include "tools/sampling/denoiser.h"

#include <cmath>

#include "nn/module.h"
#include "runtime/files/checkpoint.h"

namespace tiller {

bool all_finite(const Tensor& x) {
  const Tensor values = cast_on_host(x.to(kCpu).contiguous(), DType::f32);
  const auto* v = values.data<float>();
  // A sum of exponent tests rather than an early exit: this loop is vectorised.
  std::int64_t bad = 0;
  for (std::int64_t i = 0; i < values.numel(); ++i) bad += std::isfinite(v[i]) ? 0 : 1;
  return bad == 0;
}

namespace {

// Notes the first module whose output is not finite: modules report inner before outer.
class FirstBadModule final : public ActivationObserver {
 public:
  FirstBadModule() : previous_(activation_observer()) { activation_observer() = this; }
  ~FirstBadModule() override { activation_observer() = previous_; }
  FirstBadModule(const FirstBadModule&) = delete;
  FirstBadModule& operator=(const FirstBadModule&) = delete;
  void on_output(const std::string& path, const Tensor& output) override {
    if (module.empty() && !all_finite(output)) module = path;
  }
  std::string module;

 private:
  ActivationObserver* previous_;
};

double largest(const Tensor& x) {
  double most = 0;
  for (const float v : x.to_vector<float>())
    most = std::max(most, std::abs(static_cast<double>(v)));
  return most;
}

std::string bad_weight(const ParameterList& parameters) {
  for (const Parameter& p : parameters.all())
    if (!all_finite(p.value)) return p.key;
  return {};
}

std::string likely_cause(const ParameterList& parameters, DType torso, const char* half_flag,
                         const Tensor& x, bool guided) {
  const std::string weight = bad_weight(parameters);
  if (!weight.empty())
    return fmt::format(
        "the checkpoint's {} holds NaN or infinity: its training diverged, or the "
        "file is damaged",
        weight);
  // Pictures live in [-1, 1] and noise rarely beyond 5.
  const double most = largest(x);
  if (guided && most > 20)
    return fmt::format(
        "x_t has grown to {:.3g}: the guidance is too strong; lower "
        "--classifier_scale",
        most);
  if (most > 20)
    return fmt::format(
        "x_t has grown to {:.3g}: do --noise_schedule, --predict_xstart and "
        "--clip_denoised fit the checkpoint?",
        most);
  if (torso != DType::f32)
    return fmt::format("half precision overflows beyond 65504; try {} False", half_flag);
  return "the network's numbers overflow; do the flags fit the checkpoint?";
}

[[noreturn]] void stop(const char* network, std::int64_t step, float timestep,
                       const std::string& module, const std::string& cause) {
  fail(ErrorKind::failed,
       fmt::format("NaN or infinity at step {} (timestep {:g}) in the {}{}: {}", step, timestep,
                   network, module.empty() ? "" : ", first in " + module, cause));
}

}  // namespace

Denoiser::Denoiser(const UNet& unet, const Classifier* classifier, double scale,
                   const GaussianDiffusion& diffusion)
    : unet_(unet), classifier_(classifier), scale_(scale), diffusion_(diffusion) {}

void Denoiser::start(std::int64_t n, const Tensor& labels, const Tensor& low_res) {
  const bool again = n == n_;
  n_ = n;
  step_ = diffusion_.steps() - 1;
  if (!again) {
    state_ = unet_sum_ = classifier_sum_ = Tensor();
  } else if (unet_sum_) {
    unet_sum_.fill_zero();
    classifier_sum_.fill_zero();
  }
  put(labels_, labels ? labels.to(device()) : labels);
  put(low_res_, low_res ? low_res.to(device()) : low_res);
  make_embeddings(labels);
}

// They depend on no picture: one product over all steps instead of a thin one at each.
void Denoiser::make_embeddings(const Tensor& labels) {
  const NoGrad no_recording;
  const bool conditional = unet_.config().num_classes > 0;
  const std::vector<std::int64_t> classes =
      conditional ? labels.to_vector<std::int64_t>() : std::vector<std::int64_t>();
  std::vector<float> times;
  std::vector<std::int64_t> y;
  for (std::int64_t step = 0; step < diffusion_.steps(); ++step) {
    times.insert(times.end(), static_cast<std::size_t>(n_), diffusion_.timestep(step));
    y.insert(y.end(), classes.begin(), classes.end());
  }
  const std::int64_t rows = diffusion_.steps() * n_;
  const auto fits = [&](const auto& network) {
    return static_cast<std::size_t>(rows * network.block_features()) * sizeof(float) <=
           most_table_bytes;
  };
  const Tensor t = Tensor::from(times, {rows}, device());
  const Var emb = unet_.embed(t, conditional ? Tensor::from(y, {rows}, device()) : Tensor());
  const bool unet_fits = fits(unet_), classifier_fits = classifier_ && fits(*classifier_);
  // Of a batch before, of another size, nothing may be left that a step would prefer.
  put(unet_blocks_, unet_fits ? unet_.embed_blocks(emb) : Tensor());
  put(embeddings_, unet_fits ? Tensor() : emb.value());
  put(classifier_blocks_,
      classifier_fits ? classifier_->embed_blocks(classifier_->embed(t)) : Tensor());
}

void Denoiser::put(Tensor& into, const Tensor& value) {
  if (into && value && into.shape() == value.shape())
    into.copy_from(value);
  else
    into = value;
}

void Denoiser::follow(const Tensor& state, bool on_device) {
  state_ = state;
  if (!on_device) return;
  unet_sum_ = Tensor::zeros({}, DType::f32, device());
  classifier_sum_ = Tensor::zeros({}, DType::f32, device());
}

bool Denoiser::numbers_are_finite() const {
  return !unet_sum_ || (all_finite(unet_sum_) && all_finite(classifier_sum_));
}

// 0 times a sum is 0, or NaN if an infinity or a NaN went into it; and what is NaN stays so.
void Denoiser::watch(const Tensor& x, const Tensor& sum) const {
  sum.copy_from(add(sum, reduce_sum(x), 1, 0).value());
}

Tensor Denoiser::of_step(const Tensor& table, std::int64_t step) const {
  if (!state_) return table.slice(step * n_, (step + 1) * n_);
  const Tensor steps = table.reshape({diffusion_.steps(), n_ * table.dim(1)});
  return embedding(steps, state_.slice(0, 1)).value().reshape({n_, table.dim(1)});
}

Embedded Denoiser::unet_embedding() const {
  if (unet_blocks_) return Embedded::of_blocks(of_step(unet_blocks_, step_));
  return Var(of_step(embeddings_, step_));
}

Model Denoiser::model() {
  return [this](const Var& x, const Tensor& timestep) { return predict(x, timestep); };
}

Guide Denoiser::guide() {
  if (!classifier_) return {};
  return [this](const Tensor& x, const Tensor& timestep) { return gradient(x, timestep); };
}

Var Denoiser::predict(const Var& x, const Tensor& timestep) {
  if (on_network) on_network();
  TILLER_CHECK(step_ >= 0, "the denoiser has no step left");
  const Embedded emb = unet_embedding();
  const Var low_res = low_res_ ? Var(low_res_) : Var();
  const Var out = unet_.forward(x, emb, low_res);
  if (unet_sum_) {
    watch(out.value(), unet_sum_);
    return out;
  }
  if (!all_finite(out.value())) {
    FirstBadModule first;
    unet_.forward(x, emb, low_res);
    stop("diffusion network", step_, timestep.to_vector<float>()[0], first.module,
         likely_cause(unet_.parameters(), unet_.config().torso, "--use_fp16", x.value(),
                      classifier_ != nullptr));
  }
  --step_;
  return out;
}

Tensor Denoiser::gradient(const Tensor& x, const Tensor& timestep) const {
  if (on_network) on_network();
  // The model has counted this step already.
  const Tensor grad =
      classifier_blocks_
          ? classifier_->log_prob_gradient(
                x, Embedded::of_blocks(of_step(classifier_blocks_, step_ + 1)), labels_)
          : classifier_->log_prob_gradient(x, timestep, labels_);
  if (classifier_sum_) {
    watch(grad, classifier_sum_);
    return affine(grad, scale_, 0).value();
  }
  if (!all_finite(grad)) {
    FirstBadModule first;
    (*classifier_)(x, timestep);
    stop("classifier", step_ + 1, timestep.to_vector<float>()[0],
         first.module.empty() ? "its gradient" : first.module,
         likely_cause(classifier_->parameters(), classifier_->config().torso,
                      "--classifier_use_fp16", x, true));
  }
  return affine(grad, scale_, 0).value();
}

}  // namespace tiller
