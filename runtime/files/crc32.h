#pragma once
#include <cstdint>

#include "runtime/files/mapped_file.h"

namespace tiller {

/// The CRC-32 of zip, gzip and PNG, at the speed of memory: stretches on all threads of the CPU, each
/// by carry-less multiplication where the processor has it.
std::uint32_t crc32_of(ByteSpan bytes);

}  // namespace tiller
