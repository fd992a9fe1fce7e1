#pragma once
// Samples that are kept between runs, so that only what is missing is drawn.
#include <map>
#include <string>
#include <vector>

#include "runtime/tensor.h"

namespace tiller::quality {

/// What samples depend on: settings by name, as text.
using Settings = std::map<std::string, std::string>;

/// A series of samples in an npz: arr_0 u8 [N,H,W,C] and arr_1 i64 [N] as guided-diffusion writes
/// them, and the settings that made them as JSON in `settings` u8.
struct SampleFile {
  Tensor pixels;  // [N,H,W,C] u8; undefined where there is no file yet
  std::vector<std::int64_t> labels;
  std::int64_t size() const { return pixels ? pixels.dim(0) : 0; }
};

/// Reads the samples that these settings have made; none where there is no file. Throws
/// Error(usage), naming a setting that differs, for a file of other settings; Error(checkpoint) for
/// one that holds something else.
SampleFile read_samples(const std::string& path, const Settings& settings);

/// Atomic. Throws Error(failed).
void write_samples(const std::string& path, const SampleFile& samples, const Settings& settings);

/// "1a2b3c4d": changes when a file's bytes do (CRC-32).
std::string fingerprint(const std::string& path);

}  // namespace tiller::quality
