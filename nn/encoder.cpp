#include "nn/encoder.h"

namespace tiller {

TimeEmbedding::TimeEmbedding(const Scope& scope, const TorsoConfig& torso)
    : Module(scope.path()),
      model_channels_(torso.model_channels),
      first_(scope / 0, torso.model_channels, torso.embedding_channels()),
      second_(scope / 2, torso.embedding_channels(), torso.embedding_channels()) {}

Var TimeEmbedding::forward(const Tensor& t) const {
  const Tensor waves = timestep_embedding(t, model_channels_);  // [N,model_channels]
  return second_.fused(first_(Var(waves)), /*silu_input=*/true);
}

Encoder::Encoder(const Scope& scope, const TorsoConfig& torso, ResBlockPlaces& places)
    : middle_block_(scope / "middle_block") {
  const Scope inputs = scope / "input_blocks";
  const auto here = [&] { return inputs / static_cast<std::int64_t>(input_blocks_.size()); };
  std::int64_t channels = torso.channels(0);
  const auto finish = [&](Block block) {
    input_blocks_.push_back(std::move(block));
    channels_.push_back(channels);
  };
  Block stem(here());
  stem.add<Conv2d>(here(), torso.input_channels, channels, Conv2d::Geometry{.kernel = 3});
  finish(std::move(stem));
  std::int64_t downsample = 1;
  for (std::size_t level = 0; level < torso.levels(); ++level, downsample *= 2) {
    for (std::int64_t i = 0; i < torso.num_res_blocks; ++i) {
      const std::int64_t out = torso.channels(level);
      Block block(here());
      block.add<ResBlock>(here(), torso, channels, out, Resample::none, places.next(torso, out));
      channels = out;
      if (torso.attends(downsample))
        block.add<AttentionBlock>(here(), torso, channels, torso.heads(channels));
      finish(std::move(block));
    }
    if (level + 1 == torso.levels()) break;
    Block block(here());
    if (torso.resblock_updown)
      block.add<ResBlock>(here(), torso, channels, channels, Resample::down,
                          places.next(torso, channels));
    else
      block.add<Downsample>(here(), channels, torso.conv_resample);
    finish(std::move(block));
  }
  const Scope middle = scope / "middle_block";
  middle_block_.add<ResBlock>(middle, torso, channels, channels, Resample::none,
                              places.next(torso, channels));
  middle_block_.add<AttentionBlock>(middle, torso, channels, torso.heads(channels));
  middle_block_.add<ResBlock>(middle, torso, channels, channels, Resample::none,
                              places.next(torso, channels));
}

Activation Encoder::operator()(const Var& x, const Var& x1, const Embedded& emb,
                               std::vector<Activation>& outputs) const {
  Activation h = x, second = x1;
  for (const Block& block : input_blocks_) {
    h = block(h, second, emb);
    second = {};
    outputs.push_back(h);
  }
  return middle_block_(h, Activation(), emb);
}

void Encoder::embed(const Var& emb, const Tensor& all) const {
  for (const Block& block : input_blocks_) block.embed(emb, all);
  middle_block_.embed(emb, all);
}

void check_input(const char* network, const Tensor& x, std::int64_t channels, std::int64_t stride) {
  TILLER_CHECK(x.defined() && x.rank() == 4 && x.dim(3) == channels,
               "{}: expected pictures [N,H,W,{}], got {}", network, channels, to_string(x));
  TILLER_CHECK(
      x.dim(1) > 0 && x.dim(2) > 0 && x.dim(1) % stride == 0 && x.dim(2) % stride == 0,
      "{}: height {} and width {} must be multiples of {} (the network halves them {} times)",
      network, x.dim(1), x.dim(2), stride,
      static_cast<int>(__builtin_ctzll(static_cast<unsigned long long>(stride))));
}

Tensor timesteps(const Tensor& t, DType dtype) {
  TILLER_CHECK(t.defined() && t.rank() == 1 && (t.dtype() == DType::f32 || t.dtype() == DType::f64),
               "timesteps must be [N] f32 or f64, got {}", to_string(t));
  return cast(t, dtype).value();
}

}  // namespace tiller
