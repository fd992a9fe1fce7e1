#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tensor.h"

namespace tiller {

class MappedFile;

/// One tensor of a checkpoint, as the file describes it.
struct FileTensor {
  std::string name;  ///< after stripping wrappers and "module." prefixes
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;   ///< in PyTorch's order (OIHW for a convolution)
  std::vector<std::int64_t> stride;  ///< in elements; any strides occur
  std::int64_t offset = 0;           ///< in elements, from the start of its storage
  int storage = 0;                   ///< index into Checkpoint::storages()
  std::int64_t numel() const;
  bool dense() const;  ///< whether the strides are those of a row-major array
};

/// One run of bytes that one or more tensors share.
struct FileStorage {
  std::string key;
  DType dtype = DType::f32;
  std::int64_t numel = 0;
};

enum class FileFormat : std::uint8_t { pt_zip, pt_legacy, safetensors };
const char* name(FileFormat format);

/// What the file turned out to hold.
enum class FileContent : std::uint8_t {
  weights,  ///< a state dict, possibly wrapped ({"model": ...}, {"state_dict": ...}, {"ema": ...})
  optimizer,  ///< {"state": ..., "param_groups": ...}: readable by read_optimizer() only
};

/// A checkpoint file, memory-mapped. Opening reads names and shapes only; read() touches the bytes.
///
/// Containers: PyTorch's zip format (torch.save since 1.6), PyTorch's format before 1.6,
/// safetensors. The pickle inside a .pt is interpreted by a whitelist that executes nothing;
/// unknown classes become inert objects. Throws Error(checkpoint) for damaged files (saying
/// "truncated" where that is likely), for TorchScript archives, HTML pages and Git-LFS pointers
/// saved as .pt, and for files of other kinds, always with what to do.
class Checkpoint {
 public:
  static Checkpoint open(const std::string& path);
  /// open() for bytes that are at hand already.
  static Checkpoint parse(std::shared_ptr<const MappedFile> file);
  /// A checkpoint built in memory, to be written; no file behind it.
  static Checkpoint from_tensors(std::vector<std::pair<std::string, Tensor>> tensors,
                                 std::map<std::string, std::string> metadata = {});

  const std::string& path() const;
  FileFormat format() const;
  FileContent content() const;
  const std::vector<FileTensor>& tensors() const;  ///< in the file's order
  const std::vector<FileStorage>& storages() const;
  const FileTensor* find(std::string_view name) const;  ///< null if absent
  const std::map<std::string, std::string>& metadata()
      const;  ///< safetensors' __metadata__, else {}
  /// Scalars found beside the weights in a wrapper ({"model": ..., "step": 5000}), as text.
  const std::map<std::string, std::string>& extras() const;
  /// The wrapper and prefix that were stripped, "" if none: "model", "module.".
  const std::string& stripped() const;

  /// The values in the file's dtype and PyTorch's order, dense. Borrowed from the mapped file (no
  /// copy) when the file holds them dense and aligned. Throws Error(checkpoint).
  Tensor read(const FileTensor& tensor) const;
  Tensor read(std::string_view name) const;  ///< throws Error(checkpoint) naming the nearest match
  /// Lets the pages of a tensor leave this program's memory, for instance once it was copied. Reading
  /// it again is no mistake.
  void forget(const FileTensor& tensor) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

/// An optimizer file of torch.optim.AdamW: opt{step:06d}.pt.
struct OptimizerFile {
  struct State {
    double step = 0;
    Tensor exp_avg, exp_avg_sq;  ///< in PyTorch's order and shape
  };
  struct Group {
    std::map<std::string, double> options;  ///< lr, eps, weight_decay, beta1, beta2
    std::vector<std::int64_t> params;
  };
  std::map<std::int64_t, State> state;  ///< by parameter index
  std::vector<Group> groups;
};
/// Throws Error(checkpoint), also when the file holds no optimizer.
OptimizerFile read_optimizer(const std::string& path);
OptimizerFile parse_optimizer(std::shared_ptr<const MappedFile> file);
void write_optimizer(const std::string& path, const OptimizerFile& optimizer);

/// A tensor to be written, in PyTorch's order, dense, on the host.
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// Writes PyTorch's zip format: torch.load(path, weights_only=True) gives an OrderedDict in this
/// order. Atomic (temporary file, fsync, rename). Throws Error(failed), e.g. when the disk is full,
/// and then leaves what was at `path` untouched.
void write_pt(const std::string& path, const std::vector<NamedTensor>& tensors);

/// Writes safetensors with `metadata` (plus "format": "pt"). Atomic, as write_pt.
void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata);

/// The values of a host tensor cast to another dtype (f32, f16, bf16, f64), rounding to nearest
/// even.
Tensor cast_on_host(const Tensor& tensor, DType dtype);

}  // namespace tiller
