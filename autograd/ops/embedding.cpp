// Embeddings of classes and timesteps.
#include "kernels/embedding/embedding.h"

#include "autograd/ops.h"
#include "autograd/ops/compute.h"

namespace tiller {

Var embedding(const Var& table, const Tensor& index, const Var& addend) {
  TILLER_CHECK(table.defined() && table.value().rank() == 2 && index.defined() && index.rank() == 1,
               "embedding: table {} is not [V,C] or index {} is not [N]", to_string(table.value()),
               to_string(index));
  const DType dtype = addend ? addend.dtype() : table.dtype();
  const EmbeddingFwdArgs args{table.value(), index, addend.value(),
                              Tensor::empty({index.dim(0), table.dim(1)}, dtype, table.device())};
  check(args);
  check_indices("embedding: index", index, table.dim(0));
  run(embedding_fwd, args);
  const Shape table_shape = table.shape();
  return record(
      "embedding", {table, addend}, args.y, saved(if_needed(needs_of({table}).any(), index)),
      [table_shape](const Saved& s, const Tensor& dy, Needs needs) {
        Grads grads(2);
        if (needs[0]) {
          const EmbeddingBwdArgs d{
              s[0], dy, Tensor::empty(table_shape, accumulate_dtype(dy.dtype()), dy.device())};
          check(d);
          run(embedding_bwd, d);
          grads[0] = d.dtable;
        }
        if (needs[1]) grads[1] = dy;
        return grads;
      });
}

Tensor timestep_embedding(const Tensor& t, std::int64_t dim, double max_period) {
  TILLER_CHECK(t.defined() && t.rank() == 1 && dim >= 1,
               "timestep_embedding: t {} is not [N], or dim={} is not positive", to_string(t), dim);
  const TimestepEmbeddingArgs args{t, Tensor::empty({t.dim(0), dim}, t.dtype(), t.device()),
                                   max_period};
  check(args);
  run(timestep_embedding_fwd, args);
  return args.y;
}

}  // namespace tiller
