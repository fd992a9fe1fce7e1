#include "runtime/files/zip_writer.h"

#include <zlib.h>

#include <algorithm>
#include <optional>

#include "runtime/error.h"

namespace tiller {

namespace {

constexpr std::uint64_t kFull32 = 0xFFFFFFFF;
constexpr std::uint64_t kFull16 = 0xFFFF;
constexpr std::size_t kLocalSize = 30;
constexpr std::size_t kTorchAlignment = 64;

// Little-endian fields, in order.
class Record {
 public:
  Record& u16(std::uint64_t value) { return put(value, 2); }
  Record& u32(std::uint64_t value) { return put(value, 4); }
  Record& u64(std::uint64_t value) { return put(value, 8); }
  Record& text(std::string_view value) {
    bytes_ += value;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  Record& put(std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) bytes_ += static_cast<char>(value >> (8 * i));
    return *this;
  }
  std::string bytes_;
};

struct Member {
  std::string name;
  bool deflated = false;
  std::uint64_t offset = 0, size = 0, compressed = 0;
  std::uint32_t crc = 0;
};

// zlib's deflate without its 32-bit counts and manual memory.
class Deflater {
 public:
  Deflater() {
    TILLER_CHECK(deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8,
                              Z_DEFAULT_STRATEGY) == Z_OK,
                 "zlib: no memory to deflate with");
  }
  ~Deflater() { deflateEnd(&stream_); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  template <class Sink>
  void feed(const void* data, std::size_t bytes, bool last, const Sink& sink) {
    const auto* from = static_cast<const std::uint8_t*>(data);
    do {
      const std::size_t piece = std::min<std::size_t>(bytes, std::size_t{1} << 30);
      stream_.next_in = const_cast<std::uint8_t*>(from);
      stream_.avail_in = static_cast<uInt>(piece);
      bytes -= piece;
      from += piece;
      const bool flush = last && bytes == 0;
      do {
        stream_.next_out = buffer_.data();
        stream_.avail_out = static_cast<uInt>(buffer_.size());
        deflate(&stream_, flush ? Z_FINISH : Z_NO_FLUSH);
        sink(buffer_.data(), buffer_.size() - stream_.avail_out);
      } while (stream_.avail_out == 0);
    } while (bytes > 0);
  }

 private:
  z_stream stream_{};
  std::vector<std::uint8_t> buffer_ = std::vector<std::uint8_t>(1 << 16);
};

}  // namespace

struct ZipWriter::Impl {
  Impl(const std::string& path, ZipStyle s) : file(path), style(s) {}

  AtomicFile file;
  ZipStyle style;
  std::vector<Member> members;
  bool open = false;
  std::uint64_t appended = 0;
  std::unique_ptr<Deflater> deflater;

  bool torch() const { return style == ZipStyle::torch; }
  // Bit 3: sizes follow the data. Bit 11: the name is UTF-8.
  std::uint64_t flags() const { return torch() ? 0x0808 : 0; }
  std::uint64_t version() const { return torch() ? 0 : 45; }
  std::uint64_t date() const { return torch() ? 0 : 0x21; }  // 1 January 1980

  std::string local_header(const Member& member) const {
    Record extra;
    if (!torch() || member.size >= kFull32)
      extra.u16(1).u16(16).u64(torch() ? 0 : member.size).u64(torch() ? 0 : member.compressed);
    if (torch()) {
      const std::uint64_t start =
          member.offset + kLocalSize + member.name.size() + extra.bytes().size() + 4;
      const std::size_t padding = (kTorchAlignment - start % kTorchAlignment) % kTorchAlignment;
      extra.text("FB").u16(padding).text(std::string(padding, 'Z'));
    }
    const std::uint64_t size = torch() && member.size < kFull32 ? 0 : kFull32;
    return Record()
        .u32(0x04034b50)
        .u16(version())
        .u16(flags())
        .u16(member.deflated ? 8 : 0)
        .u16(0)
        .u16(date())
        .u32(torch() ? 0 : member.crc)
        .u32(size)
        .u32(size)
        .u16(member.name.size())
        .u16(extra.bytes().size())
        .text(member.name)
        .text(extra.bytes())
        .bytes();
  }

  std::string central_header(const Member& member) const {
    Record extra;
    if (member.size >= kFull32) extra.u64(member.size);
    if (member.compressed >= kFull32) extra.u64(member.compressed);
    if (member.offset >= kFull32) extra.u64(member.offset);
    const std::string zip64 =
        extra.bytes().empty()
            ? ""
            : Record().u16(1).u16(extra.bytes().size()).text(extra.bytes()).bytes();
    return Record()
        .u32(0x02014b50)
        .u16(torch() ? 0 : 0x032d)
        .u16(version())
        .u16(flags())
        .u16(member.deflated ? 8 : 0)
        .u16(0)
        .u16(date())
        .u32(member.crc)
        .u32(std::min(member.compressed, kFull32))
        .u32(std::min(member.size, kFull32))
        .u16(member.name.size())
        .u16(zip64.size())
        .u16(0)
        .u16(0)
        .u16(0)
        .u32(torch() ? 0 : 0x01800000)  // permissions rw-------
        .u32(std::min(member.offset, kFull32))
        .text(member.name)
        .text(zip64)
        .bytes();
  }

  void write_compressed(const void* data, std::size_t bytes) {
    file.write(data, bytes);
    members.back().compressed += bytes;
  }
};

ZipWriter::ZipWriter(const std::string& path, ZipStyle style)
    : impl_(std::make_unique<Impl>(path, style)) {}
ZipWriter::~ZipWriter() = default;
ZipWriter::ZipWriter(ZipWriter&&) noexcept = default;
ZipWriter& ZipWriter::operator=(ZipWriter&&) noexcept = default;

void ZipWriter::begin(std::string_view name, std::uint64_t size, bool deflate) {
  TILLER_CHECK(!impl_->open, "zip: member {} starts before the last one ended", name);
  TILLER_CHECK(name.size() <= kFull16, "zip: a member's name of {} bytes is too long", name.size());
  impl_->members.push_back({std::string(name), deflate, impl_->file.position(), size, 0, 0});
  impl_->open = true;
  impl_->appended = 0;
  if (deflate) impl_->deflater = std::make_unique<Deflater>();
  impl_->file.write(impl_->local_header(impl_->members.back()));
}

void ZipWriter::append(const void* data, std::size_t bytes) {
  TILLER_CHECK(impl_->open, "zip: bytes were appended outside a member");
  Member& member = impl_->members.back();
  TILLER_CHECK(bytes <= member.size - impl_->appended,
               "zip: member {} of {} bytes got more than that", member.name, member.size);
  if (bytes == 0) return;
  member.crc =
      static_cast<std::uint32_t>(crc32_z(member.crc, static_cast<const Bytef*>(data), bytes));
  impl_->appended += bytes;
  if (!member.deflated) return impl_->write_compressed(data, bytes);
  impl_->deflater->feed(data, bytes, false, [this](const void* out, std::size_t count) {
    impl_->write_compressed(out, count);
  });
}

void ZipWriter::end() {
  TILLER_CHECK(impl_->open, "zip: a member ended that was not started");
  Member& member = impl_->members.back();
  TILLER_CHECK(impl_->appended == member.size, "zip: member {} of {} bytes got only {}",
               member.name, member.size, impl_->appended);
  if (member.deflated)
    impl_->deflater->feed(nullptr, 0, true, [this](const void* out, std::size_t count) {
      impl_->write_compressed(out, count);
    });
  impl_->deflater.reset();
  impl_->open = false;
  if (impl_->torch()) {
    Record descriptor;
    descriptor.u32(0x08074b50).u32(member.crc);
    if (member.size >= kFull32)
      descriptor.u64(member.compressed).u64(member.size);
    else
      descriptor.u32(member.compressed).u32(member.size);
    impl_->file.write(descriptor.bytes());
  } else {
    const std::string header = impl_->local_header(member);
    impl_->file.patch(member.offset, header.data(), header.size());
  }
}

void ZipWriter::add(std::string_view name, std::string_view bytes, bool deflate) {
  begin(name, bytes.size(), deflate);
  append(bytes.data(), bytes.size());
  end();
}

void ZipWriter::finish() {
  TILLER_CHECK(!impl_->open, "zip: the archive was finished inside member {}",
               impl_->members.back().name);
  const std::uint64_t offset = impl_->file.position();
  for (const Member& member : impl_->members) impl_->file.write(impl_->central_header(member));
  const std::uint64_t size = impl_->file.position() - offset;
  const std::uint64_t count = impl_->members.size();
  if (impl_->torch() || count >= kFull16 || offset >= kFull32 || size >= kFull32) {
    const std::uint64_t end64 = impl_->file.position();
    impl_->file.write(Record()
                          .u32(0x06064b50)
                          .u64(44)
                          .u16(0x031e)
                          .u16(45)
                          .u32(0)
                          .u32(0)
                          .u64(count)
                          .u64(count)
                          .u64(size)
                          .u64(offset)
                          .bytes());
    impl_->file.write(Record().u32(0x07064b50).u32(0).u64(end64).u32(1).bytes());
  }
  impl_->file.write(Record()
                        .u32(0x06054b50)
                        .u16(0)
                        .u16(0)
                        .u16(std::min(count, kFull16))
                        .u16(std::min(count, kFull16))
                        .u32(std::min(size, kFull32))
                        .u32(std::min(offset, kFull32))
                        .u16(0)
                        .bytes());
  impl_->file.commit();
}

}  // namespace tiller
