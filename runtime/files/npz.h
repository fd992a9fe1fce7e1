#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tensor.h"

namespace tiller {

class MappedFile;

/// The header of an array in an .npy file or .npz member.
struct ArrayInfo {
  std::string name;  ///< member name without ".npy"; "" for a plain .npy file
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  bool fortran_order = false;
  std::uint64_t bytes = 0;
  bool compressed = false;
};

/// Reads numpy's .npz (stored or deflated, ZIP64, members over 4 GiB) and .npy (versions 1-3).
/// Opening reads headers only. Throws Error(checkpoint) for damaged files and for dtypes that we
/// lack.
class NpzReader {
 public:
  static NpzReader open(const std::string& path);
  /// open() for bytes that are at hand already.
  static NpzReader parse(std::shared_ptr<const MappedFile> file);
  const std::vector<ArrayInfo>& arrays() const;
  bool contains(std::string_view name) const;
  /// Arrays that are there but cannot be read (text, objects, complex numbers), and why.
  const std::map<std::string, std::string>& unreadable() const;
  const ArrayInfo& info(std::string_view name) const;  ///< throws, naming the members there are
  /// The whole array, in C order, on the host.
  Tensor read(std::string_view name) const;
  /// Streams an array of shape [M, ...] in blocks of up to `rows` leading entries, never holding
  /// more than one: consume(first, block).
  void stream(std::string_view name, std::int64_t rows,
              const std::function<void(std::int64_t first, const Tensor& block)>& consume) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

/// Writes .npz files as numpy does (stored, or deflated). Members are written as they are given, so
/// an array may be larger than memory. Nothing stands at `path` until finish() has renamed the
/// temporary file; a writer destroyed before that removes it. Throws Error(failed), e.g. when the
/// disk is full.
class NpzWriter {
 public:
  explicit NpzWriter(const std::string& path, bool compress = false);
  ~NpzWriter();
  NpzWriter(NpzWriter&&) noexcept;
  NpzWriter& operator=(NpzWriter&&) noexcept;
  /// A whole array.
  void write(std::string_view name, const Tensor& array);
  /// A streamed array: begin() with its full shape, append() its leading entries in order.
  void begin(std::string_view name, DType dtype, const std::vector<std::int64_t>& shape);
  void append(const Tensor& block);
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Writes one .npy file, atomically.
void write_npy(const std::string& path, const Tensor& array);

}  // namespace tiller
