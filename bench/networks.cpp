#include "bench/networks.h"

#include "nn/classifier.h"
#include "nn/published.h"
#include "nn/unet.h"

namespace tiller::bench {

namespace {

Tensor on_meta(const Shape& shape, DType dtype = DType::f32) {
  return Tensor::empty(shape, dtype, kMeta);
}

// Every gradient of sum(output), then one optimizer step as training makes it.
void train(const ParameterList& parameters, const std::function<Var()>& forward) {
  Tape tape;
  Gradients gradients;
  AdamWArgs adam;
  for (const Parameter& parameter : parameters.all()) {
    tape.watch(parameter.value, parameter.key);
    adam.p.push_back(parameter.value);
    for (std::vector<Tensor>* list : {&adam.grad, &adam.m, &adam.v})
      list->push_back(on_meta(parameter.value.shape()));
  }
  {
    const TapeGuard guard(tape);
    tape.backward(forward(), {}, gradients);
  }
  run(global_norm, NormArgs{adam.grad, on_meta({2}, DType::f64)});
  run(adamw, adam);
  run(ema_update, EmaArgs{adam.m, adam.p});
}

void collect_unet(const UNetConfig& config, Pass pass, std::int64_t batch) {
  const auto source = list_parameters();
  const UNet unet(config, *source);
  const std::int64_t size = config.image_size, c = config.in_channels;
  const Tensor x = on_meta({batch, size, size, c}), t = on_meta({batch});
  const Tensor y = config.num_classes ? on_meta({batch}, DType::i64) : Tensor();
  const Tensor low = config.super_resolution ? on_meta({batch, size / 4, size / 4, c}) : Tensor();
  const auto forward = [&] { return unet(x, t, y, low ? Var(low) : Var()); };
  if (pass == Pass::forward) forward();
  if (pass == Pass::training) train(unet.parameters(), forward);
}

void collect_classifier(const ClassifierConfig& config, Pass pass, std::int64_t batch) {
  const auto source = list_parameters();
  const Classifier classifier(config, *source);
  const std::int64_t size = config.image_size;
  const Tensor x = on_meta({batch, size, size, config.in_channels}), t = on_meta({batch});
  const Tensor y = on_meta({batch}, DType::i64);
  if (pass == Pass::forward) classifier(x, t);
  if (pass == Pass::guidance) classifier.log_prob_gradient(x, t, y);
  if (pass == Pass::training)
    train(classifier.parameters(), [&] { return cross_entropy(classifier(x, t), y); });
}

}  // namespace

const char* name(Pass pass) {
  return pass == Pass::forward ? "forward" : pass == Pass::guidance ? "guidance" : "training";
}

Pass parse_pass(const std::string& word) {
  for (const Pass pass : {Pass::forward, Pass::guidance, Pass::training})
    if (word == name(pass)) return pass;
  fail(ErrorKind::usage, fmt::format("--pass {} is not forward, guidance or training", word));
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const KnownModel& model : known_models()) names.emplace_back(model.name);
  return names;
}

void collect(const std::string& model, Pass pass, std::int64_t batch, DType torso, Cases& cases) {
  for (const KnownModel& known : known_models()) {
    if (known.name != model) continue;
    cases.set_user(fmt::format("{} {}", model, name(pass)));
    const TraceGuard guard(cases, TraceLevel::ops);
    if (known.kind == NetworkKind::classifier) {
      ClassifierConfig config = classifier_config(known);
      config.torso = torso;
      collect_classifier(config, pass, batch);
    } else {
      UNetConfig config = unet_config(known);
      config.torso = torso;
      collect_unet(config, pass, batch);
    }
    return;
  }
  fail(ErrorKind::usage,
       fmt::format("--model {}: no such model (known: {})", model, fmt::join(model_names(), ", ")));
}

}  // namespace tiller::bench
