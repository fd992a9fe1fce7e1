#include "nn/res_block.h"

#include <memory>

namespace tiller {

ResBlock::ResBlock(const Scope& scope, const TorsoConfig& torso, std::int64_t in, std::int64_t out,
                   Resample resample, ResBlockPlace place)
    : Module(scope.path()),
      resample_(resample),
      scale_shift_(torso.use_scale_shift_norm),
      checkpointed_(torso.use_checkpoint),
      dropout_(torso.dropout),
      place_(place),
      embedding_channels_(torso.block_embedding_channels(out)),
      norm1_(scope / "in_layers" / 0, in),
      conv1_(scope / "in_layers" / 2, in, out, {.kernel = 3, .up2x = resample == Resample::up}),
      emb_layer_(scope / "emb_layers" / 1, torso.embedding_channels(), embedding_channels_),
      norm2_(scope / "out_layers" / 0, out),
      conv2_(scope / "out_layers" / 3, out, out, {.kernel = 3}, Start::zero) {
  if (in != out)
    skip_connection_.emplace(scope / "skip_connection", in, out, Conv2d::Geometry{.kernel = 1});
}

void ResBlock::embed(const Var& emb, const Tensor& all) const {
  const ModuleScope scope(path());
  all.channels(place_.at, place_.at + embedding_channels_)
      .copy_from(emb_layer_.fused(emb, /*silu_input=*/true).value());
}

Activation ResBlock::forward(const Activation& x, const Activation& skip,
                             const Embedded& emb) const {
  if (!checkpointed_ || !Tape::current()) return compute(x, skip, emb);
  // Run again in the backward, the block must see the same options (dropout!) and statistics. Its
  // own output's statistics are handed out of the first run, so that the group norm that follows
  // computes what it computes without checkpoint, bit for bit.
  const auto stats = std::make_shared<Tensor>();
  const Var y = checkpoint(
      [this, options = forward_options(), x_stats = x.stats, skip_stats = skip.stats,
       blocks = emb.blocks, first_run = std::weak_ptr(stats)](const std::vector<Var>& in) {
        const ForwardOptionsGuard guard(options);
        const Activation out = compute({in[0], x_stats}, {in[1], skip_stats},
                                       blocks ? Embedded::of_blocks(blocks) : in[2]);
        if (const auto handed = first_run.lock()) *handed = out.stats;
        return out.x;
      },
      {x.x, skip.x, emb.emb});
  return {y, *stats};
}

Activation ResBlock::compute(const Activation& x, const Activation& skip,
                             const Embedded& emb) const {
  const bool down = resample_ == Resample::down;
  const Var a =
      norm1_.fused(x, skip, {.silu = true, .pool = down});  // [N,H,W,C], pooled [N,H/2,W/2,C]
  // Up-sampling is folded into the convolution's reading of `a`.
  const Activation b = conv1_.fused(a, {.stats = scale_shift_});  // [N,P,Q,K]
  const Var e = emb.blocks ? Var(emb.blocks.channels(place_.at, place_.at + embedding_channels_))
                           : emb_layer_.fused(emb.emb, /*silu_input=*/true);
  // e is [N,2K], scale then shift, or [N,K]
  Var c;  // [N,P,Q,K]
  if (scale_shift_)
    c = norm2_.fused(b, {}, {.emb = e, .silu = true});
  else
    c = norm2_.fused(add(b.x, e, 1, 1, Broadcast::per_sample_channel), {}, {.silu = true});
  const ForwardOptions& options = forward_options();
  if (options.training && dropout_ > 0) c = dropout(c, dropout_, options.key, place_.index);

  ConvOptions last{.stats = true};
  if (skip_connection_) {
    // A 1x1 convolution into the same output; its operands are the block's own two sources.
    const auto resampled = [&](const Var& v) {
      if (!v || resample_ == Resample::none) return v;
      return down ? mean_pool2x2(v) : upsample2x(v);
    };
    last.skip0 = resampled(x.x);
    last.skip1 = resampled(skip.x);
    last.skip_w = skip_connection_->weight();
    last.skip_bias = skip_connection_->bias();
  } else {
    const Var whole = skip.x ? concat(x.x, skip.x) : x.x;  // [N,H,W,K]
    last.residual = down ? mean_pool2x2(whole) : whole;
    last.residual_up2x = resample_ == Resample::up;
  }
  return conv2_.fused(c, last);
}

}  // namespace tiller
