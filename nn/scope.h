#pragma once
// One type creates, loads or lists parameters. A module's constructor takes a Scope and its
// initialiser list is the mapping to PyTorch's names: norm1(scope / "in_layers" / 0, ...),
// conv1(scope / "in_layers" / 2, ...).
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/files/checkpoint.h"
#include "runtime/tensor.h"

namespace tiller {

/// How a parameter lies in PyTorch's files, and how here. Permuted once on reading, back on
/// writing.
enum class FileLayout : std::uint8_t {
  same,        ///< vectors, [K,C] matrices
  oihw,        ///< file [K,C,R,S], here [K,R,S,C]
  conv1d,      ///< file [K,C,1], here [K,C]
  transposed,  ///< file [C,T], here [T,C]: the attention pool's positional embedding
};

/// How PyTorch's constructor initialises it.
struct Init {
  enum class Kind : std::uint8_t { zeros, ones, uniform, normal } kind = Kind::zeros;
  double scale = 1;  ///< uniform: +-scale; normal: standard deviation
  static Init zeros() { return {Kind::zeros, 0}; }
  static Init ones() { return {Kind::ones, 1}; }
  static Init uniform(double bound) { return {Kind::uniform, bound}; }
  static Init normal(double deviation) { return {Kind::normal, deviation}; }
};

/// One parameter of a network: its PyTorch name and shape, and the value, which optimizers write.
struct Parameter {
  std::string key;
  std::vector<std::int64_t> file_shape;
  FileLayout layout = FileLayout::same;
  Tensor value;
};

/// All parameters of a network in the order of PyTorch's model.parameters().
class ParameterList {
 public:
  void add(Parameter parameter);
  const std::vector<Parameter>& all() const { return parameters_; }
  const Parameter* find(std::string_view key) const;
  std::int64_t numel() const;
  std::size_t bytes() const;

 private:
  std::vector<Parameter> parameters_;
};

/// Where parameters come from.
class ParameterSource {
 public:
  virtual ~ParameterSource() = default;
  /// The value of a parameter of this name, in our layout.
  virtual Tensor get(const std::string& key, const Shape& shape,
                     const std::vector<std::int64_t>& file_shape, FileLayout layout,
                     const Init& init) = 0;
  /// Called when the network is complete. Throws Error(checkpoint) with missing, unexpected and
  /// mis-shaped keys, the nearest match of each, and the flag that would explain the difference.
  virtual void finish() {}
  /// Lines for the user about what was found on the way (NaN weights), once finish() has returned.
  virtual const std::vector<std::string>& warnings() const;
};

/// PyTorch's initialisation for training from scratch (the distributions, not the generator):
/// Philox keyed by the parameter's position, so that a seed gives the same network on every device.
std::unique_ptr<ParameterSource> create_parameters(std::uint64_t seed, DType dtype = DType::f32,
                                                   Device device = kCpu);
/// Random values for every parameter, the zero-initialised ones included: for tests and benchmarks,
/// in which a zeroed layer would hide mistakes.
std::unique_ptr<ParameterSource> randomize_parameters(std::uint64_t seed, DType dtype = DType::f32,
                                                      Device device = kCpu);
/// Shapes only.
std::unique_ptr<ParameterSource> list_parameters(DType dtype = DType::f32);
/// From a checkpoint, in `dtype` (the file's f16 or bf16 values are widened).
std::unique_ptr<ParameterSource> load_parameters(const Checkpoint& checkpoint,
                                                 DType dtype = DType::f32, Device device = kCpu);

/// How a network that is not trained keeps its weights.
enum class FrozenWeights : std::uint8_t {
  as_stored,  ///< in the mapped file, in the file's dtype: no memory of their own
  bf16,       ///< f32 ones rounded to bfloat16, in half the memory; the file is left
};

/// From a checkpoint, for a network that is not trained: matrices and filters stay where they are
/// and are read by the products that use them (FrozenSource in runtime/storage.h), as f32. Vectors
/// are f32 copies. On a device other than the CPU as load_parameters().
std::unique_ptr<ParameterSource> freeze_parameters(const Checkpoint& checkpoint,
                                                   FrozenWeights weights, Device device = kCpu);
/// Shapes only, of a network that is not trained.
std::unique_ptr<ParameterSource> list_frozen_parameters();

/// A place in the tree of module names.
class Scope {
 public:
  Scope(ParameterSource& source, ParameterList& list, std::string path = {})
      : source_(&source), list_(&list), path_(std::move(path)) {}
  Scope operator/(std::string_view name) const;
  Scope operator/(std::int64_t index) const;
  const std::string& path() const { return path_; }
  /// The parameter `name` of this module; `shape` is ours, the file's follows from the layout.
  Tensor parameter(std::string_view name, const Shape& shape, FileLayout layout,
                   const Init& init) const;

 private:
  ParameterSource* source_;
  ParameterList* list_;
  std::string path_;
};

/// A parameter's value in PyTorch's order and shape (for writing), and back.
Tensor to_file_layout(const Tensor& value, const std::vector<std::int64_t>& file_shape,
                      FileLayout layout);
Tensor from_file_layout(const Tensor& file_value, const Shape& shape, FileLayout layout);

/// All parameters as PyTorch's state dict has them, ready for write_pt() or write_safetensors().
std::vector<NamedTensor> state_dict(const ParameterList& parameters);

}  // namespace tiller
