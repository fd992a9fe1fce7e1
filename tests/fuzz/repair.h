#pragma once
// Checksums would stop nearly every mutation before the code behind them sees it. These make a file's
// checksums right again, wherever its structure can still be followed.
#include <cstdint>
#include <vector>

#include "runtime/files/mapped_file.h"

namespace tiller::fuzz {

std::vector<std::uint8_t> repair_zip(ByteSpan bytes);
std::vector<std::uint8_t> repair_png(ByteSpan bytes);

}  // namespace tiller::fuzz
