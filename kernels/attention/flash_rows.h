#pragma once
#include "kernels/attention/attention.h"

namespace tiller {

bool flash_supported(const AttentionFwdArgs& args);
bool flash_supported(const AttentionBwdArgs& args);
/// As flash_supported, on a processor with AVX-512.
bool flash_avx512_supported(const AttentionFwdArgs& args);
bool flash_avx512_supported(const AttentionBwdArgs& args);
std::size_t flash_workspace(const AttentionFwdArgs& args);
std::size_t flash_workspace(const AttentionBwdArgs& args);
void flash_fwd(const AttentionFwdArgs& args, void* workspace, Stream stream);
void flash_bwd(const AttentionBwdArgs& args, void* workspace, Stream stream);
void flash_fwd_avx512(const AttentionFwdArgs& args, void* workspace, Stream stream);
void flash_bwd_avx512(const AttentionBwdArgs& args, void* workspace, Stream stream);

}  // namespace tiller
