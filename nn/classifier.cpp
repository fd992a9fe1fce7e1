#include "nn/classifier.h"

#include <numeric>

#include "nn/encoder.h"
#include "nn/pool_head.h"

namespace tiller {

namespace {
bool is_spatial(Pool pool) { return pool == Pool::spatial || pool == Pool::spatial_v2; }
}  // namespace

struct Classifier::Impl {
  Impl(const ClassifierConfig& c, const Scope& scope)
      : config(c),
        torso(torso_of(c)),
        time_embed(scope / "time_embed", torso),
        encoder(scope, torso, dropout_layers),
        out(scope / "out", c, bottom_channels(), features(), positions()) {}
  std::int64_t bottom_channels() const { return encoder.channels().back(); }
  std::int64_t features() const {
    return std::accumulate(encoder.channels().begin(), encoder.channels().end(), bottom_channels());
  }
  std::int64_t positions() const {
    const std::int64_t side = config.image_size / torso.stride();
    return side * side;
  }
  // What the pool reads of pictures x [N,H,W,C].
  Activation torso_output(const Var& x, const Var& emb) const;
  // The spatial means of a block's output, in the parameters' dtype: [N,C].
  Var means(const Activation& h) const {
    return reduce_mean(cast(h.x, dtype), ReduceOver::spatial);
  }

  ClassifierConfig config;
  TorsoConfig torso;
  ParameterList parameters;
  std::uint32_t dropout_layers = 0;
  TimeEmbedding time_embed;
  Encoder encoder;
  PoolHead out;
  DType dtype = DType::f32;
  DType torso_dtype = DType::f32;
};

Classifier::Classifier(const ClassifierConfig& config, ParameterSource& source) {
  check(config);
  ParameterList list;
  impl_ = std::make_unique<Impl>(config, Scope(source, list));
  source.finish();
  impl_->parameters = std::move(list);
  impl_->dtype = impl_->parameters.all().front().value.dtype();
  impl_->torso_dtype = impl_->dtype == DType::f64 ? DType::f64 : config.torso;
}

Classifier::~Classifier() = default;
Classifier::Classifier(Classifier&&) noexcept = default;
Classifier& Classifier::operator=(Classifier&&) noexcept = default;

const ClassifierConfig& Classifier::config() const { return impl_->config; }
const ParameterList& Classifier::parameters() const { return impl_->parameters; }
std::int64_t Classifier::stride() const { return impl_->torso.stride(); }

Var Classifier::embed(const Tensor& t) const {
  return impl_->time_embed(timesteps(t, impl_->dtype));
}

Activation Classifier::Impl::torso_output(const Var& x, const Var& emb) const {
  check_input("Classifier", x.value(), config.in_channels, torso.stride());
  out.check_positions(x.dim(1), x.dim(2), torso.stride());
  std::vector<Activation> outputs;
  const Var picture = cast(cast(x, dtype), torso_dtype);  // [N,H,W,C]
  const Activation h = encoder(picture, {}, emb, outputs);
  if (!is_spatial(config.pool)) return {cast(h.x, dtype), h.stats};
  outputs.push_back(h);
  Var all;  // [N,F]
  for (const Activation& output : outputs) all = all ? concat(all, means(output)) : means(output);
  return all;
}

Var Classifier::forward(const Var& x, const Var& emb) const {
  return impl_->out(impl_->torso_output(x, emb));
}

Classifier::Reading Classifier::read(const Var& x, const Tensor& t) const {
  const Activation torso = impl_->torso_output(x, embed(t));
  const Var features = impl_->out.features(torso);
  return {features, impl_->out.logits(features)};
}

Var Classifier::operator()(const Var& x, const Tensor& t) const { return forward(x, embed(t)); }

Tensor Classifier::log_prob_gradient(const Tensor& x, const Tensor& t, const Tensor& y,
                                     Tensor* logits) const {
  TILLER_CHECK(y.defined() && y.rank() == 1 && y.dim(0) == x.dim(0) && y.dtype() == DType::i64,
               "labels must be i64[{}], got {}", x.dim(0), to_string(y));
  Var emb;
  {
    const NoGrad no_recording;  // the gradient by x does not pass through the embedding
    emb = embed(t);
  }
  return input_gradient(
      [&](const Var& picture) {
        const Var scores = forward(picture, emb);  // [N,K]
        if (logits) *logits = scores.value();
        return affine(reduce_sum(cross_entropy(scores, y)), -1, 0);  // sum of log p(y|x)
      },
      x);
}

}  // namespace tiller
