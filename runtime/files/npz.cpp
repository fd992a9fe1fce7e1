#include "runtime/files/npz.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "runtime/files/npy.h"
#include "runtime/files/zip_directory.h"

namespace tiller {

namespace {

// A directory that promises much more than its bytes usually hold is not believed before its data
// have been inflated once without keeping them.
constexpr std::uint64_t kTrusted = std::uint64_t{32} << 20;
constexpr std::uint64_t kUsualRatio = 16;

// Element k of a Fortran-ordered array in C order: strides of the first dimension are the smallest.
void from_fortran(const std::uint8_t* from, std::uint8_t* to, std::size_t size,
                  const Shape& shape) {
  const int rank = shape.rank();
  std::array<std::int64_t, Shape::kMaxRank> index{}, stride{};
  std::int64_t step = 1;
  for (int d = 0; d < rank; ++d) {
    stride[static_cast<std::size_t>(d)] = step;
    step *= shape[d];
  }
  const std::int64_t count = shape.numel();
  std::int64_t at = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    std::memcpy(to + static_cast<std::size_t>(k) * size, from + static_cast<std::size_t>(at) * size,
                size);
    for (int d = rank; d-- > 0;) {
      const auto i = static_cast<std::size_t>(d);
      at += stride[i];
      if (++index[i] < shape[d]) break;
      at -= stride[i] * shape[d];
      index[i] = 0;
    }
  }
}

// A bool of C++ must be 0 or 1; a file may hold any byte.
void normalise_bools(const Tensor& t) {
  if (t.dtype() != DType::boolean) return;
  auto* bytes = static_cast<std::uint8_t*>(t.raw());
  for (std::int64_t i = 0; i < t.numel(); ++i) bytes[i] = bytes[i] != 0;
}

}  // namespace

struct NpzReader::Impl {
  struct Source {
    ZipMember member;  // an .npy file is treated as a stored member without checksum
    bool checked = true;
    std::uint64_t header_bytes = 0;
  };
  std::shared_ptr<const MappedFile> file;
  std::vector<ArrayInfo> arrays;
  std::vector<Source> sources;                     // beside arrays
  std::map<std::string, std::string> unsupported;  // name -> why

  void add(const std::string& array, ZipMember member, bool checked) {
    const std::string what =
        array.empty() ? file->path() : fmt::format("{}: array {}", file->path(), array);
    std::vector<std::uint8_t> head(std::min<std::uint64_t>(member.size, kNpyHeaderLimit));
    if (member.deflated) {
      // The CRC covers the whole member; it is checked when the array is read.
      ZipMember start = member;
      start.size = std::max<std::uint64_t>(member.size, head.size() + 1);
      ZipMemberReader(start, file->path()).read(head.data(), head.size());
    } else {
      std::copy_n(member.data.begin(), head.size(), head.begin());
    }
    const NpyHeader header = read_npy_header(head, what);
    if (!header.unsupported.empty()) {
      unsupported[array] = header.unsupported;
      return;
    }
    TILLER_CHECK_FILE(header.data_bytes <= member.size - header.header_bytes,
                      "{} is truncated: {}{} needs {} bytes, {} are there", what,
                      name(header.dtype), to_string(header.shape), header.data_bytes,
                      member.size - header.header_bytes);
    arrays.push_back({array, header.dtype, header.shape, header.fortran_order, header.data_bytes,
                      member.deflated});
    sources.push_back({std::move(member), checked, header.header_bytes});
  }

  std::size_t index(std::string_view wanted) const {
    for (std::size_t i = 0; i < arrays.size(); ++i)
      if (arrays[i].name == wanted) return i;
    const auto refused = unsupported.find(std::string(wanted));
    if (refused != unsupported.end())
      fail(ErrorKind::checkpoint,
           fmt::format("{}: array {} cannot be read: {}", file->path(), wanted, refused->second));
    std::string names;
    for (const ArrayInfo& info : arrays) names += (names.empty() ? "" : ", ") + info.name;
    fail(ErrorKind::checkpoint,
         fmt::format("{} has no array \"{}\"; it has: {}", file->path(), wanted, names));
  }

  // Feeds the array's raw data to `consume` in blocks of `block` bytes.
  template <class Consume>
  void walk(std::size_t i, std::uint64_t block, const Consume& consume) const {
    const Source& source = sources[i];
    ZipMember member = source.member;
    if (!source.checked &&
        !member.deflated)  // a plain .npy has no checksum; anything matches itself
      return walk_plain(i, block, consume);
    ZipMemberReader reader(member, file->path());
    std::vector<std::uint8_t> skipped(source.header_bytes);
    reader.read(skipped.data(), skipped.size());
    for (std::uint64_t left = arrays[i].bytes; left > 0;) {
      const std::uint64_t now = std::min(left, block);
      left -= now;
      consume(now, [&](void* to) { reader.read(to, now); });
    }
    std::vector<std::uint8_t> rest(4096);  // bytes behind the array; the checksum covers them
    while (reader.remaining() > 0)
      reader.read(rest.data(), std::min<std::uint64_t>(reader.remaining(), rest.size()));
  }
  template <class Consume>
  void walk_plain(std::size_t i, std::uint64_t block, const Consume& consume) const {
    const std::uint8_t* at = sources[i].member.data.data() + sources[i].header_bytes;
    for (std::uint64_t left = arrays[i].bytes; left > 0;) {
      const std::uint64_t now = std::min(left, block);
      left -= now;
      consume(now, [&](void* to) { std::memcpy(to, at, now); });
      at += now;
    }
  }

  void believe(std::size_t i) const {
    const ZipMember& member = sources[i].member;
    if (!member.deflated || member.size <= kTrusted ||
        member.size / kUsualRatio <= member.data.size())
      return;
    std::vector<std::uint8_t> dropped(1 << 16);
    walk(i, dropped.size(), [&](std::uint64_t, const auto& read) { read(dropped.data()); });
  }
};

NpzReader NpzReader::parse(std::shared_ptr<const MappedFile> file) {
  auto impl = std::make_shared<Impl>();
  NpzReader reader;
  reader.impl_ = impl;
  const ByteSpan bytes = file->bytes();
  impl->file = std::move(file);
  const std::string& path = impl->file->path();
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()),
                               std::min<std::size_t>(bytes.size(), 6));
  if (start == "\x93NUMPY") {
    impl->add("", ZipMember{"", false, 0, bytes.size(), bytes}, false);
    if (!impl->unsupported.empty())
      fail(ErrorKind::checkpoint, fmt::format("{}: {}", path, impl->unsupported.begin()->second));
    return reader;
  }
  TILLER_CHECK_FILE(start.starts_with("PK"), "{} is neither an .npz nor an .npy file", path);
  for (ZipMember& member : read_zip_directory(bytes, path)) {
    if (!member.name.ends_with(".npy")) continue;  // numpy too hands such members out as bytes only
    const std::string array = member.name.substr(0, member.name.size() - 4);
    TILLER_CHECK_FILE(!array.empty(), "{}: an array has no name", path);
    impl->add(array, std::move(member), true);
  }
  TILLER_CHECK_FILE(!impl->arrays.empty() || !impl->unsupported.empty(),
                    "{} is a zip archive without numpy arrays (is it a checkpoint?)", path);
  return reader;
}

NpzReader NpzReader::open(const std::string& path) { return parse(MappedFile::open(path)); }

const std::vector<ArrayInfo>& NpzReader::arrays() const { return impl_->arrays; }

const std::map<std::string, std::string>& NpzReader::unreadable() const {
  return impl_->unsupported;
}

bool NpzReader::contains(std::string_view name) const {
  return std::any_of(impl_->arrays.begin(), impl_->arrays.end(),
                     [&](const ArrayInfo& info) { return info.name == name; });
}

const ArrayInfo& NpzReader::info(std::string_view name) const {
  return impl_->arrays[impl_->index(name)];
}

Tensor NpzReader::read(std::string_view name) const {
  const std::size_t i = impl_->index(name);
  const ArrayInfo& info = impl_->arrays[i];
  impl_->believe(i);
  const Shape shape{std::span<const std::int64_t>(info.shape)};
  Tensor raw = Tensor::empty(shape, info.dtype);
  impl_->walk(i, std::max<std::uint64_t>(info.bytes, 1),
              [&](std::uint64_t, const auto& read) { read(raw.raw()); });
  normalise_bools(raw);
  if (!info.fortran_order || shape.rank() < 2) return raw;
  Tensor array = Tensor::empty(shape, info.dtype);
  from_fortran(static_cast<const std::uint8_t*>(raw.raw()), static_cast<std::uint8_t*>(array.raw()),
               size_of(info.dtype), shape);
  return array;
}

void NpzReader::stream(
    std::string_view name, std::int64_t rows,
    const std::function<void(std::int64_t first, const Tensor& block)>& consume) const {
  const std::size_t i = impl_->index(name);
  const ArrayInfo& info = impl_->arrays[i];
  TILLER_CHECK(rows > 0, "stream: blocks of {} rows", rows);
  TILLER_CHECK_FILE(!info.shape.empty(), "{}: array {} is a scalar; it has no rows to stream",
                    impl_->file->path(), name);
  const Shape shape{std::span<const std::int64_t>(info.shape)};
  if (info.bytes == 0) return;
  impl_->believe(i);
  if (info.fortran_order && shape.rank() > 1) {  // its rows are scattered over the whole file
    const Tensor whole = read(name);
    for (std::int64_t first = 0; first < shape[0]; first += rows)
      consume(first, whole.slice(first, std::min(first + rows, shape[0])));
    return;
  }
  const std::uint64_t row_bytes = info.bytes / static_cast<std::uint64_t>(shape[0]);
  const std::int64_t block = std::min(rows, shape[0]);
  std::int64_t first = 0;
  impl_->walk(i, static_cast<std::uint64_t>(block) * row_bytes,
              [&](std::uint64_t bytes, const auto& read) {
                const auto count = static_cast<std::int64_t>(bytes / row_bytes);
                const Tensor piece = Tensor::empty(shape.with(0, count), info.dtype);
                read(piece.raw());
                normalise_bools(piece);
                consume(first, piece);
                first += count;
              });
}

}  // namespace tiller
