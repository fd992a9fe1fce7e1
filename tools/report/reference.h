#pragma once
// PyTorch's inputs and outputs, as tools/dump_reference.py writes them.
#include <string>

#include "runtime/files/npz.h"
#include "tools/network.h"

namespace tiller {

/// The inputs of a reference file, channels last: x [N,H,W,C] f32, t [N] f32, and, where the file has
/// them, y [N] i64 and low_res [N,h,w,C] f32.
struct ReferenceInputs {
  Tensor x, t, y, low_res;
  /// The same on another device.
  ReferenceInputs on(Device device) const {
    const auto moved = [&](const Tensor& input) { return input ? input.to(device) : input; };
    return {moved(x), moved(t), moved(y), moved(low_res)};
  }
};

/// Reads x, t, y and low_res. Throws Error(checkpoint) for an array that is missing, of another rank
/// or of another type, naming it and what it must be.
ReferenceInputs read_reference_inputs(const NpzReader& file);

/// An array of floating-point numbers as f32, in the file's order. Throws Error(checkpoint).
Tensor read_floats(const NpzReader& file, const std::string& name);

/// Whether the file holds what a network of this kind can be compared with: `out`, or for a
/// classifier `logits` or `grad` (with its y). Throws Error(checkpoint), saying what is missing.
void check_reference_complete(const NpzReader& file, bool classifier);

/// Whether inputs and expected outputs have the shapes that this network takes and gives. Throws
/// Error(checkpoint), naming the array, its shape and the one that it must have.
void check_reference_fits(const NpzReader& file, const ReferenceInputs& in, const Network& network);

}  // namespace tiller
