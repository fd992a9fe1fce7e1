#include <optional>

#include "runtime/files/atomic_file.h"
#include "runtime/files/npy.h"
#include "runtime/files/npz.h"
#include "runtime/files/zip_writer.h"

namespace tiller {

namespace {
std::vector<std::int64_t> dims_of(const Tensor& t) { return {t.shape().begin(), t.shape().end()}; }

std::uint64_t array_bytes(DType dtype, const std::vector<std::int64_t>& shape) {
  return static_cast<std::uint64_t>(Shape(std::span<const std::int64_t>(shape)).numel()) *
         size_of(dtype);
}
}  // namespace

struct NpzWriter::Impl {
  Impl(const std::string& path, bool compress) : zip(path, ZipStyle::numpy), deflate(compress) {}
  ZipWriter zip;
  bool deflate;
  struct Open {
    std::string name;
    DType dtype;
    std::vector<std::int64_t> shape;
    std::uint64_t left;  // bytes still to come
  };
  std::optional<Open> open;

  void close() {
    if (!open) return;
    TILLER_CHECK(open->left == 0, "npz: array {} {} was not filled: {} bytes are missing",
                 open->name, to_string(open->shape), open->left);
    zip.end();
    open.reset();
  }
};

NpzWriter::NpzWriter(const std::string& path, bool compress)
    : impl_(std::make_unique<Impl>(path, compress)) {}
NpzWriter::~NpzWriter() = default;
NpzWriter::NpzWriter(NpzWriter&&) noexcept = default;
NpzWriter& NpzWriter::operator=(NpzWriter&&) noexcept = default;

void NpzWriter::begin(std::string_view name, DType dtype, const std::vector<std::int64_t>& shape) {
  TILLER_CHECK(!name.empty(), "npz: an array needs a name");
  impl_->close();
  const std::string header = npy_header(dtype, shape);
  const std::uint64_t bytes = array_bytes(dtype, shape);
  impl_->zip.begin(fmt::format("{}.npy", name), header.size() + bytes, impl_->deflate);
  impl_->zip.append(header.data(), header.size());
  impl_->open = Impl::Open{std::string(name), dtype, shape, bytes};
}

void NpzWriter::append(const Tensor& block) {
  TILLER_CHECK(impl_->open, "npz: append() before begin()");
  Impl::Open& open = *impl_->open;
  const Tensor host = block.to(kCpu).contiguous();
  bool fits = host.dtype() == open.dtype && host.rank() == static_cast<int>(open.shape.size());
  for (int d = 1; fits && d < host.rank(); ++d)
    fits = host.dim(d) == open.shape[static_cast<std::size_t>(d)];
  TILLER_CHECK(fits && host.bytes() <= open.left, "npz: {} does not continue array {} {}{}",
               to_string(host), open.name, tiller::name(open.dtype), to_string(open.shape));
  impl_->zip.append(host.raw(), host.bytes());
  open.left -= host.bytes();
}

void NpzWriter::write(std::string_view name, const Tensor& array) {
  begin(name, array.dtype(), dims_of(array));
  append(array);
}

void NpzWriter::finish() {
  impl_->close();
  impl_->zip.finish();
}

void write_npy(const std::string& path, const Tensor& array) {
  const Tensor host = array.to(kCpu).contiguous();
  AtomicFile file(path);
  file.write(npy_header(host.dtype(), dims_of(host)));
  file.write(host.raw(), host.bytes());
  file.commit();
}

}  // namespace tiller
