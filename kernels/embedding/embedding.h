#pragma once
// The class embedding (rows of a table) and the sinusoidal timestep embedding.
#include "runtime/op.h"

namespace tiller {

struct EmbeddingFwdArgs {
  Tensor table;   // [V,C] f32 (f64)
  Tensor index;   // [N] i64; an index outside [0, V) is refused by the autograd operation
  Tensor addend;  // [N,C] or none: y = addend + table[index] (time embedding + class embedding)
  Tensor y;       // [N,C] out
  Device device() const { return y.device(); }
  DType dtype() const { return y.dtype(); }
};

/// dtable[v] = sum of dy[n] over n with index[n] == v, in order of n.
struct EmbeddingBwdArgs {
  Tensor index;   // [N] i64
  Tensor dy;      // [N,C]
  Tensor dtable;  // [V,C] out f32 (f64 with f64), overwritten (zero where no index points)
  Device device() const { return dtable.device(); }
  DType dtype() const { return dy.dtype(); }
};

/// Vaswani et al. 2017 as in guided-diffusion's nn.py: half = dim / 2, freq_i = exp(-ln(max_period)
/// i / half), y[n] = [cos(t freq) | sin(t freq)], and a zero column when dim is odd. In f32, as
/// PyTorch (f64 with f64). t may be fractional or negative.
struct TimestepEmbeddingArgs {
  Tensor t;  // [N] f32 (f64)
  Tensor y;  // [N,dim] out
  double max_period = 10000;
  Device device() const { return y.device(); }
  DType dtype() const { return y.dtype(); }
};

void check(const EmbeddingFwdArgs& args);
void check(const EmbeddingBwdArgs& args);
void check(const TimestepEmbeddingArgs& args);
Cost cost(const EmbeddingFwdArgs& args);
Cost cost(const EmbeddingBwdArgs& args);
Cost cost(const TimestepEmbeddingArgs& args);
std::string describe(const EmbeddingFwdArgs& args);
std::string describe(const EmbeddingBwdArgs& args);
std::string describe(const TimestepEmbeddingArgs& args);

extern const Op<EmbeddingFwdArgs> embedding_fwd;
extern const Op<EmbeddingBwdArgs> embedding_bwd;
extern const Op<TimestepEmbeddingArgs> timestep_embedding_fwd;

}  // namespace tiller
