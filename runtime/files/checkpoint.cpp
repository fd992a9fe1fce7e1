#include "runtime/files/checkpoint.h"

#include <algorithm>
#include <unordered_map>

#include "runtime/files/nearest.h"
#include "runtime/files/safetensors.h"
#include "runtime/files/state_dict.h"
#include "runtime/files/torch_file.h"

namespace tiller {

namespace {
constexpr std::size_t kNameLimit = 4096;
}

std::int64_t FileTensor::numel() const {
  std::int64_t count = 1;
  for (const std::int64_t n : shape) count *= n;
  return count;
}

bool FileTensor::dense() const {
  std::int64_t expected = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    if (shape[d] == 0) return true;
    if (shape[d] == 1) continue;  // its stride is never used
    if (stride[d] != expected) return false;
    expected *= shape[d];
  }
  return true;
}

const char* name(FileFormat format) {
  switch (format) {
    case FileFormat::pt_zip:
      return "PyTorch zip";
    case FileFormat::pt_legacy:
      return "PyTorch before 1.6";
    case FileFormat::safetensors:
      return "safetensors";
  }
  return "unknown";
}

struct Checkpoint::Impl {
  std::shared_ptr<const MappedFile> file;  // null when built from tensors
  std::string path;
  FileFormat format = FileFormat::pt_zip;
  FileContent content = FileContent::weights;
  std::vector<FileTensor> tensors;
  std::vector<FileStorage> storages;
  std::vector<FileBytes> bytes;  // beside storages, when there is a file
  std::vector<Tensor> values;    // beside storages, when there is none
  bool swapped = false;
  std::map<std::string, std::string> metadata, extras;
  std::string stripped;
  std::unordered_map<std::string_view, std::size_t> by_name;

  void from_torch(TorchFile torch) {
    format = torch.format;
    swapped = torch.swapped;
    StateDict found = find_state_dict(torch.pickle, path);
    content = found.content;
    extras = std::move(found.extras);
    stripped = std::move(found.stripped);
    for (const auto& [tensor_name, value] : found.tensors) {
      TILLER_CHECK_FILE(tensor_name.size() <= kNameLimit, "{}: a tensor's name has {} bytes", path,
                        tensor_name.size());
      tensors.push_back(describe_tensor(torch, torch.pickle.tensor(value), tensor_name));
    }
    for (const PickleStorage& storage : torch.pickle.storages())
      storages.push_back(
          {std::string(storage.key), storage.dtype.value_or(DType::u8), storage.numel});
    bytes = std::move(torch.storages);
  }

  void from_safetensors(SafetensorsFile read) {
    format = FileFormat::safetensors;
    metadata = std::move(read.metadata);
    bytes = std::move(read.storages);
    tensors = std::move(read.tensors);
    for (const FileTensor& tensor : tensors)
      storages.push_back({tensor.name, tensor.dtype, tensor.numel()});
  }

  void index() {
    for (std::size_t i = 0; i < tensors.size(); ++i) by_name.emplace(tensors[i].name, i);
  }
};

Checkpoint Checkpoint::open(const std::string& path) { return parse(MappedFile::open(path)); }

Checkpoint Checkpoint::parse(std::shared_ptr<const MappedFile> file) {
  auto impl = std::make_shared<Impl>();
  impl->file = file;
  impl->path = file->path();
  if (looks_like_safetensors(file->bytes())) {
    impl->from_safetensors(read_safetensors(*file));
  } else {
    impl->from_torch(read_torch_file(std::move(file)));
  }
  impl->index();
  Checkpoint checkpoint;
  checkpoint.impl_ = std::move(impl);
  return checkpoint;
}

Checkpoint Checkpoint::from_tensors(std::vector<std::pair<std::string, Tensor>> tensors,
                                    std::map<std::string, std::string> metadata) {
  auto impl = std::make_shared<Impl>();
  impl->metadata = std::move(metadata);
  for (auto& [tensor_name, tensor] : tensors) {
    FileTensor described;
    described.name = tensor_name;
    described.dtype = tensor.dtype();
    described.shape.assign(tensor.shape().begin(), tensor.shape().end());
    described.stride.resize(described.shape.size());
    std::int64_t step = 1;
    for (std::size_t d = described.shape.size(); d-- > 0;) {
      described.stride[d] = step;
      step *= std::max<std::int64_t>(described.shape[d], 1);
    }
    described.storage = static_cast<int>(impl->values.size());
    impl->storages.push_back({tensor_name, tensor.dtype(), tensor.numel()});
    impl->tensors.push_back(std::move(described));
    impl->values.push_back(tensor.to(kCpu).contiguous());
  }
  impl->index();
  TILLER_CHECK(impl->by_name.size() == impl->tensors.size(), "a tensor's name appears twice");
  Checkpoint checkpoint;
  checkpoint.impl_ = std::move(impl);
  return checkpoint;
}

const std::string& Checkpoint::path() const { return impl_->path; }
FileFormat Checkpoint::format() const { return impl_->format; }
FileContent Checkpoint::content() const { return impl_->content; }
const std::vector<FileTensor>& Checkpoint::tensors() const { return impl_->tensors; }
const std::vector<FileStorage>& Checkpoint::storages() const { return impl_->storages; }
const std::map<std::string, std::string>& Checkpoint::metadata() const { return impl_->metadata; }
const std::map<std::string, std::string>& Checkpoint::extras() const { return impl_->extras; }
const std::string& Checkpoint::stripped() const { return impl_->stripped; }

const FileTensor* Checkpoint::find(std::string_view name) const {
  const auto found = impl_->by_name.find(name);
  return found == impl_->by_name.end() ? nullptr : &impl_->tensors[found->second];
}

Tensor Checkpoint::read(const FileTensor& tensor) const {
  const auto storage = static_cast<std::size_t>(tensor.storage);
  TILLER_CHECK(storage < impl_->storages.size(), "{}: {} is not a tensor of this file", impl_->path,
               tensor.name);
  if (!impl_->file) return impl_->values[storage];
  return read_view(impl_->file, impl_->bytes[storage], impl_->swapped, tensor);
}

void Checkpoint::forget(const FileTensor& tensor) const {
  if (impl_->file)
    impl_->file->forget(impl_->bytes[static_cast<std::size_t>(tensor.storage)].bytes);
}

Tensor Checkpoint::read(std::string_view name) const {
  if (const FileTensor* tensor = find(name)) return read(*tensor);
  TILLER_CHECK_FILE(impl_->content == FileContent::weights,
                    "{} is an optimizer's file (opt*.pt), not a model: it has no tensor \"{}\"",
                    impl_->path, name);
  std::vector<std::string_view> names;
  for (const FileTensor& tensor : impl_->tensors) names.emplace_back(tensor.name);
  const std::string_view near = nearest(name, names);
  fail(ErrorKind::checkpoint,
       fmt::format("{} has no tensor \"{}\"{}", impl_->path, name,
                   near.empty() ? "" : fmt::format("; the nearest is \"{}\"", near)));
}

}  // namespace tiller
