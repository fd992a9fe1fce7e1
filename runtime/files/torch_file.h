#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/files/checkpoint.h"
#include "runtime/files/mapped_file.h"
#include "runtime/files/pickle.h"

namespace tiller {

/// The bytes of one storage where they stand in the file.
struct FileBytes {
  ByteSpan bytes;
  std::string what;                  ///< "data/17", for messages
  std::optional<std::uint32_t> crc;  ///< checked when the storage is first read
  mutable std::atomic<bool> checked{false};
  FileBytes() = default;
  FileBytes(FileBytes&& o) noexcept
      : bytes(o.bytes), what(std::move(o.what)), crc(o.crc), checked(o.checked.load()) {}
};

/// A file of torch.save(), of either format: the object as pickled, and where its storages' bytes
/// are.
struct TorchFile {
  std::shared_ptr<const MappedFile> file;
  FileFormat format = FileFormat::pt_zip;
  std::vector<std::uint8_t> pickle_bytes;  ///< when they do not stand in the file as they are
  Pickle pickle;
  std::vector<FileBytes> storages;  ///< beside pickle.storages(); empty bytes for unknown dtypes
  bool swapped = false;             ///< written on a big-endian machine
};

/// Reads PyTorch's zip format. Throws Error(checkpoint), for TorchScript archives and other zip
/// files with what to do.
TorchFile read_torch_zip(std::shared_ptr<const MappedFile> file);

/// Reads PyTorch's format before 1.6: five pickles, then the storages.
TorchFile read_torch_legacy(std::shared_ptr<const MappedFile> file);

/// Whichever of the two it is. Throws Error(checkpoint) saying what else the file is.
TorchFile read_torch_file(std::shared_ptr<const MappedFile> file);

/// A sentence on a file that is no checkpoint: an HTML page, a Git-LFS pointer, an EDM pickle, a
/// tar, numpy's, a picture; what to do about it.
std::string explain_foreign_file(ByteSpan bytes);

/// Checks that the view lies in its storage and is not larger than it. Throws Error(checkpoint).
void check_view(const FileTensor& tensor, std::int64_t storage_numel, const std::string& path);

/// The elements of a view, dense, in PyTorch's order: borrowed from the mapped file when it holds
/// them dense and aligned to their size, else copied. Checks the storage's checksum the first time.
Tensor read_view(const std::shared_ptr<const MappedFile>& file, const FileBytes& storage,
                 bool swapped, const FileTensor& tensor);

/// The file's description of a tensor of the pickle. Throws Error(checkpoint) for a dtype that we
/// lack.
FileTensor describe_tensor(const TorchFile& file, const PickleTensor& tensor,
                           const std::string& name);

}  // namespace tiller
