#pragma once
// The fast CPU rows v1_rows of softmax and cross entropy: a row of logits is copied to f32, where
// its exponentials stay until it is written.
#include "kernels/softmax/softmax.h"

namespace tiller {

/// A row of f32 per thread.
std::size_t softmax_row_workspace(const SoftmaxFwdArgs& args);
std::size_t softmax_row_workspace(const CrossEntropyFwdArgs& args);
std::size_t softmax_row_workspace(const CrossEntropyBwdArgs& args);

void softmax_fwd_fast(const SoftmaxFwdArgs& args, void* workspace, Stream stream);
void softmax_bwd_fast(const SoftmaxBwdArgs& args, void* workspace, Stream stream);
void cross_entropy_fwd_fast(const CrossEntropyFwdArgs& args, void* workspace, Stream stream);
void cross_entropy_bwd_fast(const CrossEntropyBwdArgs& args, void* workspace, Stream stream);

}  // namespace tiller
