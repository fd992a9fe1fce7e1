#include "nn/unet.h"

#include <optional>

#include "nn/encoder.h"

namespace tiller {

namespace {
/// out: group norm, SiLU and a convolution, in f32 whatever the torso computes in.
class OutputHead : public Module<OutputHead> {
 public:
  OutputHead(const Scope& scope, std::int64_t channels, std::int64_t out)
      : Module(scope.path()),
        norm_(scope / 0, channels),
        conv_(scope / 2, channels, out, {.kernel = 3}, Start::zero) {}
  Var forward(const Activation& x) const {
    return conv_.fused(norm_.fused(x, {}, {.silu = true}), {}).x;
  }

 private:
  GroupNorm norm_;
  Conv2d conv_;
};
}  // namespace

struct UNet::Impl {
  Impl(const UNetConfig& c, const Scope& scope)
      : config(c),
        torso(torso_of(c)),
        time_embed(scope / "time_embed", torso),
        label_emb(c.num_classes > 0
                      ? std::optional<Embedding>(std::in_place, scope / "label_emb", c.num_classes,
                                                 torso.embedding_channels())
                      : std::nullopt),
        encoder(scope, torso, places) {
    build_decoder(scope);
    head.emplace(scope / "out", torso.channels(0), c.out_channels);
  }
  void build_decoder(const Scope& scope);

  UNetConfig config;
  TorsoConfig torso;
  ParameterList parameters;
  ResBlockPlaces places;
  TimeEmbedding time_embed;
  std::optional<Embedding> label_emb;
  Encoder encoder;
  std::vector<Block> output_blocks;
  std::optional<OutputHead> head;
  DType dtype = DType::f32;  ///< of the parameters: f32, or f64 to check gradients
  DType torso_dtype = DType::f32;
};

// Every output block starts with a residual block over two sources: what comes from below, and the
// output of the input block at the same height.
void UNet::Impl::build_decoder(const Scope& scope) {
  std::vector<std::int64_t> skips = encoder.channels();
  std::int64_t channels = skips.back();
  std::int64_t downsample = torso.stride();
  // guided-diffusion's num_heads_upsample counts only where no head width is given.
  TorsoConfig decoder = torso;
  if (config.num_heads_upsample != -1) decoder.num_heads = config.num_heads_upsample;
  for (std::size_t level = torso.levels(); level-- > 0;) {
    for (std::int64_t i = 0; i <= torso.num_res_blocks; ++i) {
      const Scope here = scope / "output_blocks" / static_cast<std::int64_t>(output_blocks.size());
      Block& block = output_blocks.emplace_back(here);
      const std::int64_t out = torso.channels(level);
      block.add<ResBlock>(here, decoder, channels + skips.back(), out, Resample::none,
                          places.next(torso, out));
      skips.pop_back();
      channels = out;
      if (torso.attends(downsample))
        block.add<AttentionBlock>(here, decoder, channels, decoder.heads(channels));
      if (level > 0 && i == torso.num_res_blocks) {
        if (torso.resblock_updown)
          block.add<ResBlock>(here, decoder, channels, channels, Resample::up,
                              places.next(torso, channels));
        else
          block.add<Upsample>(here, channels, torso.conv_resample);
        downsample /= 2;
      }
    }
  }
}

UNet::UNet(const UNetConfig& config, ParameterSource& source) {
  check(config);
  // The list stands outside of Impl while its members fill it.
  ParameterList list;
  impl_ = std::make_unique<Impl>(config, Scope(source, list));
  source.finish();
  impl_->parameters = std::move(list);
  impl_->dtype = impl_->parameters.all().front().value.dtype();
  impl_->torso_dtype = impl_->dtype == DType::f64 ? DType::f64 : config.torso;
}

UNet::~UNet() = default;
UNet::UNet(UNet&&) noexcept = default;
UNet& UNet::operator=(UNet&&) noexcept = default;

const UNetConfig& UNet::config() const { return impl_->config; }
const ParameterList& UNet::parameters() const { return impl_->parameters; }
std::int64_t UNet::stride() const { return impl_->torso.stride(); }

Var UNet::embed(const Tensor& t, const Tensor& y) const {
  const Var time = impl_->time_embed(timesteps(t, impl_->dtype));  // [N,E]
  if (!impl_->label_emb) {
    TILLER_CHECK(!y.defined(), "the network is not class-conditional, but labels were given: {}",
                 to_string(y));
    return time;
  }
  TILLER_CHECK(y.defined(), "the network is class-conditional ({} classes) and needs labels",
               impl_->config.num_classes);
  TILLER_CHECK(y.rank() == 1 && y.dim(0) == t.dim(0) && y.dtype() == DType::i64,
               "labels must be i64[{}], got {}", t.dim(0), to_string(y));
  return impl_->label_emb->fused(y, time);
}

std::int64_t UNet::block_features() const { return impl_->places.width(); }

Tensor UNet::embed_blocks(const Var& emb) const {
  const NoGrad no_recording;
  const Tensor all =
      Tensor::empty({emb.dim(0), block_features()}, emb.dtype(), emb.value().device());
  impl_->encoder.embed(emb, all);
  for (const Block& block : impl_->output_blocks) block.embed(emb, all);
  return all;
}

Var UNet::forward(const Var& x, const Embedded& emb, const Var& low_res) const {
  const UNetConfig& config = impl_->config;
  check_input("UNet", x.value(), config.in_channels, stride());
  TILLER_CHECK(low_res.defined() || !config.super_resolution,
               "UNet: a super-resolution network needs low_res pictures");
  TILLER_CHECK(!low_res.defined() || config.super_resolution,
               "UNet: low_res was given, but this is no super-resolution network");
  const Var picture = cast(x, impl_->dtype);  // [N,H,W,C]
  Var low;                                    // [N,H,W,C]
  if (low_res) {
    TILLER_CHECK(low_res.shape().rank() == 4 && low_res.dim(0) == x.dim(0) &&
                     low_res.dim(3) == config.in_channels,
                 "low_res must be [{},h,w,{}], got {}", x.dim(0), config.in_channels,
                 to_string(low_res.value()));
    low =
        cast(resize_bilinear(cast(low_res, impl_->dtype), x.dim(1), x.dim(2)), impl_->torso_dtype);
  }
  std::vector<Activation> skips;
  Activation h = impl_->encoder(cast(picture, impl_->torso_dtype), low, emb, skips);
  for (const Block& block : impl_->output_blocks) {
    h = block(h, skips.back(), emb);
    skips.pop_back();
  }
  return (*impl_->head)(Activation(cast(h.x, impl_->dtype), h.stats));
}

Var UNet::operator()(const Var& x, const Tensor& t, const Tensor& y, const Var& low_res) const {
  return forward(x, embed(t, y), low_res);
}

}  // namespace tiller
