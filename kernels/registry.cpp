#include "kernels/registry.h"

#include <array>

#include "kernels/attention/attention.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/embedding/embedding.h"
#include "kernels/group_norm/group_norm.h"
#include "kernels/linear/linear.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool_tokens/pool_tokens.h"
#include "kernels/reduce/reduce.h"
#include "kernels/resample/resample.h"
#include "kernels/sampler_step/sampler_step.h"
#include "kernels/softmax/softmax.h"

namespace tiller {

std::span<const OpBase* const> all_ops() {
  static const std::array<const OpBase*, 33> table{&conv2d_fwd,
                                                   &conv2d_dgrad,
                                                   &conv2d_wgrad,
                                                   &linear_fwd,
                                                   &linear_dgrad,
                                                   &linear_wgrad,
                                                   &group_norm_fwd,
                                                   &group_norm_bwd,
                                                   &attention_fwd,
                                                   &attention_bwd,
                                                   &pool_tokens_fwd,
                                                   &pool_tokens_bwd,
                                                   &unary,
                                                   &silu_bwd,
                                                   &binary,
                                                   &where_fwd,
                                                   &resample_fwd,
                                                   &resample_bwd,
                                                   &softmax_fwd,
                                                   &softmax_bwd,
                                                   &cross_entropy_fwd,
                                                   &cross_entropy_bwd,
                                                   &reduce,
                                                   &broadcast_to,
                                                   &embedding_fwd,
                                                   &embedding_bwd,
                                                   &timestep_embedding_fwd,
                                                   &dropout_fwd,
                                                   &adamw,
                                                   &ema_update,
                                                   &global_norm,
                                                   &scale_all,
                                                   &sampler_step};
  return table;
}

}  // namespace tiller
