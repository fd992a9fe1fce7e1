#include "runtime/files/torch_file.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "runtime/files/zip_directory.h"

namespace tiller {

namespace {

constexpr std::string_view kMagicPickle(
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e", 15);
// A view may repeat elements (stride 0), as expand() makes it, but not to fill the memory.
constexpr std::int64_t kRepeatLimit = std::int64_t{1} << 22;

std::string_view text_of(ByteSpan bytes, std::size_t at, std::size_t count) {
  if (at >= bytes.size()) return {};
  return {reinterpret_cast<const char*>(bytes.data()) + at, std::min(count, bytes.size() - at)};
}

// Copies the elements of a strided view in row-major order.
void gather(const std::uint8_t* from, std::uint8_t* to, std::size_t size,
            const FileTensor& tensor) {
  const std::size_t rank = tensor.shape.size();
  std::vector<std::int64_t> index(rank, 0);
  const std::int64_t inner = rank ? tensor.shape.back() : 1;
  const std::int64_t step = rank ? tensor.stride.back() : 1;
  const std::int64_t rows = inner ? tensor.numel() / inner : 0;
  std::int64_t at = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    if (step == 1) {
      std::memcpy(to, from + static_cast<std::size_t>(at) * size,
                  static_cast<std::size_t>(inner) * size);
      to += static_cast<std::size_t>(inner) * size;
    } else {
      for (std::int64_t i = 0; i < inner; ++i, to += size)
        std::memcpy(to, from + static_cast<std::size_t>(at + i * step) * size, size);
    }
    for (std::size_t d = rank > 0 ? rank - 1 : 0; d-- > 0;) {
      at += tensor.stride[d];
      if (++index[d] < tensor.shape[d]) break;
      at -= tensor.stride[d] * tensor.shape[d];
      index[d] = 0;
    }
  }
}

void swap_bytes(std::uint8_t* data, std::int64_t count, std::size_t size) {
  for (std::int64_t i = 0; i < count; ++i, data += size) std::reverse(data, data + size);
}

void verify(const FileBytes& storage, const std::string& path) {
  if (!storage.crc || storage.checked.load(std::memory_order_acquire)) return;
  check_crc(storage.bytes, *storage.crc, storage.what, path);
  storage.checked.store(true, std::memory_order_release);
}

}  // namespace

std::string explain_foreign_file(ByteSpan bytes) {
  const std::string_view start = text_of(bytes, 0, 512);
  std::string_view page = start;
  while (!page.empty() && (page[0] == ' ' || page[0] == '\n' || page[0] == '\r' || page[0] == '\t'))
    page.remove_prefix(1);
  std::string lower(page.substr(0, 16));
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 'a' - 'A') : c;
  });
  if (lower.starts_with("<!doctype html") || lower.starts_with("<html"))
    return "is an HTML page, not a checkpoint: the download was answered by a web page (an error, "
           "a login "
           "or a confirmation). Fetch the file again from its direct address";
  if (lower.starts_with("<?xml"))
    return "is an XML answer of a web server, not a checkpoint: the address has moved or refuses";
  if (start.starts_with("version https://git-lfs"))
    return "is a Git-LFS pointer, not the file itself: run git lfs pull, or download the file "
           "directly";
  if (text_of(bytes, 257, 5) == "ustar")
    return "is a tar archive. If it is a checkpoint of PyTorch before 0.1.10, load it in PyTorch "
           "and save "
           "it again; else unpack it first";
  if (start.size() > 1 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5)
    return "is a plain Python pickle, not a file of torch.save() (EDM and StyleGAN publish such "
           "files: they "
           "hold programs that only Python could run). In Python, load it and torch.save() the "
           "network's "
           "state_dict()";
  if (start.starts_with("\x93NUMPY")) return "is a numpy array, not a checkpoint";
  if (start.starts_with("\x89PNG") || start.starts_with("\xff\xd8\xff"))
    return "is a picture, not a checkpoint";
  if (start.starts_with("\x1f\x8b")) return "is gzip-compressed: unpack it first (gunzip)";
  if (start.starts_with("\x89HDF")) return "is an HDF5 file (Keras?), not a checkpoint of PyTorch";
  if (start.starts_with("GGUF")) return "is a GGUF file; a .pt or .safetensors file is needed";
  if (kMagicPickle.starts_with(start) || std::string_view("PK\x03\x04").starts_with(start))
    return "is a truncated download: it ends within its first bytes. Fetch the file again";
  if (std::all_of(
          bytes.begin(),
          bytes.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(bytes.size(), 4096)),
          [](std::uint8_t b) { return b == 0; }))
    return "holds zeros: a download that was allotted but not filled. Fetch the file again";
  return "is no checkpoint: neither a .pt of torch.save() nor a .safetensors file";
}

TorchFile read_torch_file(std::shared_ptr<const MappedFile> file) {
  const ByteSpan bytes = file->bytes();
  const std::string_view start = text_of(bytes, 0, kMagicPickle.size());
  if (start.starts_with("PK\x03\x04")) return read_torch_zip(std::move(file));
  if (start == kMagicPickle) return read_torch_legacy(std::move(file));
  fail(ErrorKind::checkpoint, fmt::format("{} {}", file->path(), explain_foreign_file(bytes)));
}

void check_view(const FileTensor& tensor, std::int64_t storage_numel, const std::string& path) {
  std::int64_t count = 1, extent = 1;  // extent: as if no dimension were empty
  std::int64_t last = tensor.offset;
  bool broken = tensor.offset < 0;
  for (std::size_t d = 0; d < tensor.shape.size(); ++d) {
    const std::int64_t n = tensor.shape[d];
    std::int64_t reach = 0;
    broken = broken || n < 0 || tensor.stride[d] < 0 || __builtin_mul_overflow(count, n, &count) ||
             __builtin_mul_overflow(extent, std::max<std::int64_t>(n, 1), &extent) ||
             __builtin_mul_overflow(n > 0 ? n - 1 : 0, tensor.stride[d], &reach) ||
             __builtin_add_overflow(last, reach, &last);
  }
  // An empty tensor touches nothing, wherever it points.
  broken = broken || (count > 0 && last >= storage_numel);
  broken = broken || count > std::max(storage_numel, kRepeatLimit);
  TILLER_CHECK_FILE(!broken,
                    "{} is damaged: {} {} with strides {} at offset {} does not lie in its storage "
                    "of {} elements",
                    path, tensor.name, to_string(tensor.shape), to_string(tensor.stride),
                    tensor.offset, storage_numel);
}

Tensor read_view(const std::shared_ptr<const MappedFile>& file, const FileBytes& storage,
                 bool swapped, const FileTensor& tensor) {
  TILLER_CHECK_FILE(tensor.shape.size() <= Shape::kMaxRank, "{}: {} {} has too many dimensions",
                    file->path(), tensor.name, to_string(tensor.shape));
  const Shape shape{std::span<const std::int64_t>(tensor.shape)};
  const std::size_t size = size_of(tensor.dtype);
  if (shape.numel() == 0) return Tensor::empty(shape, tensor.dtype);
  verify(storage, file->path());
  const std::uint8_t* first = storage.bytes.data() + static_cast<std::size_t>(tensor.offset) * size;
  const std::size_t position = static_cast<std::size_t>(first - file->bytes().data());
  if (tensor.dense() && !swapped && position % size == 0 && tensor.dtype != DType::boolean) {
    // The view starts at a multiple of 64 bytes before the data, so that Tensor::aligned() holds.
    const std::size_t base = position / 64 * 64;
    auto borrowed = Storage::borrow(
        file->bytes().data() + base,
        position - base + static_cast<std::size_t>(shape.numel()) * size, kCpu, file);
    return Tensor::view(std::move(borrowed), shape, tensor.dtype,
                        static_cast<std::int64_t>((position - base) / size));
  }
  Tensor copy = Tensor::empty(shape, tensor.dtype);
  auto* to = static_cast<std::uint8_t*>(copy.raw());
  gather(first, to, size, tensor);
  if (swapped && size > 1) swap_bytes(to, shape.numel(), size);
  if (tensor.dtype == DType::boolean)  // a bool of C++ must be 0 or 1; a file may hold any byte
    for (std::int64_t i = 0; i < shape.numel(); ++i) to[i] = to[i] != 0;
  return copy;
}

FileTensor describe_tensor(const TorchFile& file, const PickleTensor& tensor,
                           const std::string& name) {
  const PickleStorage& storage = file.pickle.storages()[tensor.storage];
  const std::string& path = file.file->path();
  TILLER_CHECK_FILE(storage.dtype,
                    "{}: {} is stored as {}, which is not read. Convert it to float in "
                    "PyTorch",
                    path, name, storage.type);
  FileTensor described;
  described.name = name;
  described.dtype = *storage.dtype;
  described.shape = tensor.shape;
  described.stride = tensor.stride;
  described.offset = tensor.offset;
  described.storage = static_cast<int>(tensor.storage);
  check_view(described, storage.numel, path);
  return described;
}

}  // namespace tiller
