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
        encoder(scope, torso, places),
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
  Activation torso_output(const Var& x, const Embedded& emb) const;
  // The spatial means of a block's output, in the parameters' dtype: [N,C].
  Var means(const Activation& h) const {
    return reduce_mean(cast(h.x, dtype), ReduceOver::spatial);
  }

  ClassifierConfig config;
  TorsoConfig torso;
  ParameterList parameters;
  ResBlockPlaces places;
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

Activation Classifier::Impl::torso_output(const Var& x, const Embedded& emb) const {
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

std::int64_t Classifier::block_features() const { return impl_->places.width(); }

Tensor Classifier::embed_blocks(const Var& emb) const {
  const NoGrad no_recording;
  const Tensor all =
      Tensor::empty({emb.dim(0), block_features()}, emb.dtype(), emb.value().device());
  impl_->encoder.embed(emb, all);
  return all;
}

Var Classifier::forward(const Var& x, const Embedded& emb) const {
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
  Var emb;
  {
    const NoGrad no_recording;  // the gradient by x does not pass through the embedding
    emb = embed(t);
  }
  return log_prob_gradient(x, emb, y, logits);
}

Tensor Classifier::log_prob_gradient(const Tensor& x, const Embedded& emb, const Tensor& y,
                                     Tensor* logits) const {
  TILLER_CHECK(y.defined() && y.rank() == 1 && y.dim(0) == x.dim(0) && y.dtype() == DType::i64,
               "labels must be i64[{}], got {}", x.dim(0), to_string(y));
  return input_gradient([&](const Var& picture) { return forward(picture, emb); }, x,
                        [&](const Tensor& scores) {  // [N,K]
                          if (logits) *logits = scores;
                          return log_likelihood_gradient(scores, y);
                        });
}

}  // namespace tiller
