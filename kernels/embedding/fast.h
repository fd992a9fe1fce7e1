#pragma once
// The fast CPU rows of the embeddings.
#include "kernels/embedding/embedding.h"

namespace tiller {

bool embedding_fwd_fast_supports(const EmbeddingFwdArgs& args);
bool embedding_bwd_fast_supports(const EmbeddingBwdArgs& args);
bool timestep_embedding_fast_supports(const TimestepEmbeddingArgs& args);

void embedding_fwd_fast(const EmbeddingFwdArgs& args, void* workspace, Stream stream);
void embedding_bwd_fast(const EmbeddingBwdArgs& args, void* workspace, Stream stream);
void timestep_embedding_fast(const TimestepEmbeddingArgs& args, void* workspace, Stream stream);

}  // namespace tiller
