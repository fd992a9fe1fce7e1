#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/files/torch_file.h"

namespace tiller {

/// The header of a safetensors file, validated: every byte of the buffer belongs to exactly one
/// tensor.
struct SafetensorsFile {
  std::vector<FileTensor> tensors;  ///< in the order of their data; tensor i has storage i
  std::vector<FileBytes> storages;
  std::map<std::string, std::string> metadata;
};

/// Whether the bytes start as a safetensors file does: a length, then "{".
bool looks_like_safetensors(ByteSpan bytes);

/// Throws Error(checkpoint). Source: the format's specification and its reference validator
/// (https://github.com/huggingface/safetensors): no holes, no overlap, no duplicate keys, sizes
/// that match shapes, nothing behind the last tensor.
SafetensorsFile read_safetensors(const MappedFile& file);

}  // namespace tiller
