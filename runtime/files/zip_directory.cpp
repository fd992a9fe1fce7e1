#include "runtime/files/zip_directory.h"

#include <zlib.h>

#include <algorithm>
#include <optional>

#include "runtime/files/byte_reader.h"
#include "runtime/files/crc32.h"

namespace tiller {

namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50;
constexpr std::uint32_t kCentralHeader = 0x02014b50;
constexpr std::uint32_t kEnd = 0x06054b50;
constexpr std::uint32_t kEnd64 = 0x06064b50;
constexpr std::uint32_t kEnd64Locator = 0x07064b50;
constexpr std::size_t kEndSize = 22;
constexpr std::size_t kLocatorSize = 20;
constexpr std::uint32_t kFull32 = 0xFFFFFFFF;  // "the value stands in the ZIP64 record"

struct Directory {
  std::uint64_t offset = 0, size = 0, entries = 0;
};

std::uint32_t u32_at(ByteSpan bytes, std::size_t at) {
  std::uint32_t value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// The end record may be followed by a comment of up to 65535 bytes; it is looked for from the end,
// and its comment must reach exactly to the end of the file.
std::optional<std::size_t> find_end(ByteSpan file) {
  if (file.size() < kEndSize) return std::nullopt;
  const std::size_t last = file.size() - kEndSize;
  const std::size_t first = last > 0xFFFF ? last - 0xFFFF : 0;
  for (std::size_t at = last + 1; at-- > first;) {
    if (u32_at(file, at) != kEnd) continue;
    const std::size_t comment = file[at + 20] | (file[at + 21] << 8);
    if (at + kEndSize + comment == file.size()) return at;
  }
  return std::nullopt;
}

Directory find_directory(ByteSpan file, const std::string& path) {
  const std::optional<std::size_t> end = find_end(file);
  TILLER_CHECK_FILE(end,
                    "{}: the archive has no directory at its end: a truncated download? "
                    "({} bytes are here) Fetch the file again",
                    path, file.size());
  ByteReader reader(file, path, *end + 4);
  const std::uint16_t disk = reader.u16();
  const std::uint16_t directory_disk = reader.u16();
  reader.u16();
  Directory directory;
  directory.entries = reader.u16();
  directory.size = reader.u32();
  directory.offset = reader.u32();
  if (*end >= kLocatorSize && u32_at(file, *end - kLocatorSize) == kEnd64Locator) {
    ByteReader locator(file, path, *end - kLocatorSize + 8);
    const std::uint64_t at = locator.u64();
    TILLER_CHECK_FILE(at < file.size(),
                      "{}: damaged: the ZIP64 end record would stand at byte {} of {}", path, at,
                      file.size());
    ByteReader end64(file, path, at);
    TILLER_CHECK_FILE(end64.u32() == kEnd64, "{}: damaged: no ZIP64 end record at byte {}", path,
                      at);
    end64.take(28);  // its size, versions, disks and the count on this disk
    directory.entries = end64.u64();
    directory.size = end64.u64();
    directory.offset = end64.u64();
  } else {
    TILLER_CHECK_FILE(disk == 0 && directory_disk == 0,
                      "{}: archives split over disks are not read", path);
  }
  TILLER_CHECK_FILE(
      directory.offset <= file.size() && directory.size <= file.size() - directory.offset,
      "{}: damaged: the directory would span bytes {}+{} of {}", path, directory.offset,
      directory.size, file.size());
  TILLER_CHECK_FILE(directory.entries <= directory.size / 46,
                    "{}: damaged: {} members do not fit a directory of {} bytes", path,
                    directory.entries, directory.size);
  return directory;
}

struct Sizes {
  std::uint64_t size, compressed, offset;
};

// The ZIP64 extra field holds, in this order, only those values that are full in the fixed header.
void apply_zip64(ByteSpan extra, Sizes& sizes, const std::string& path) {
  ByteReader reader(extra, path);
  while (reader.remaining() >= 4) {
    const std::uint16_t id = reader.u16();
    const std::uint16_t length = reader.u16();
    if (length > reader.remaining()) return;  // padding of other writers; not ours to judge
    ByteReader field(reader.take(length), path);
    if (id != 1) continue;
    if (sizes.size == kFull32) sizes.size = field.u64();
    if (sizes.compressed == kFull32) sizes.compressed = field.u64();
    if (sizes.offset == kFull32) sizes.offset = field.u64();
    return;
  }
}

ZipMember read_entry(ByteReader& reader, ByteSpan file, const std::string& path) {
  TILLER_CHECK_FILE(reader.u32() == kCentralHeader,
                    "{}: damaged: the archive's directory is broken", path);
  reader.take(4);  // versions
  const std::uint16_t flags = reader.u16();
  const std::uint16_t method = reader.u16();
  reader.take(4);  // time and date
  ZipMember member;
  member.crc = reader.u32();
  Sizes sizes{};
  sizes.compressed = reader.u32();
  sizes.size = reader.u32();
  const std::uint16_t name_length = reader.u16();
  const std::uint16_t extra_length = reader.u16();
  const std::uint16_t comment_length = reader.u16();
  reader.take(8);  // disk and attributes
  sizes.offset = reader.u32();
  member.name = reader.text(name_length);
  apply_zip64(reader.take(extra_length), sizes, path);
  reader.take(comment_length);

  TILLER_CHECK_FILE((flags & 1) == 0, "{}: member {} is encrypted", path, member.name);
  TILLER_CHECK_FILE(method == 0 || method == 8,
                    "{}: member {} uses compression method {}; only stored and deflated are read",
                    path, member.name, method);
  member.deflated = method == 8;
  member.size = sizes.size;
  TILLER_CHECK_FILE(sizes.offset < file.size(),
                    "{}: damaged: member {} would stand at byte {} of {}", path, member.name,
                    sizes.offset, file.size());
  ByteReader local(file, path, sizes.offset);
  TILLER_CHECK_FILE(local.u32() == kLocalHeader, "{}: damaged: no member {} at byte {}", path,
                    member.name, sizes.offset);
  local.take(22);
  const std::uint16_t local_name = local.u16();
  const std::uint16_t local_extra = local.u16();  // differs from the central one: alignment padding
  local.take(static_cast<std::size_t>(local_name) + local_extra);
  TILLER_CHECK_FILE(
      sizes.compressed <= local.remaining(),
      "{}: damaged or truncated: member {} of {} bytes would reach past the file's end", path,
      member.name, sizes.compressed);
  member.data = local.take(sizes.compressed);
  const std::uint64_t bound = member.deflated ? inflate_bound(sizes.compressed) : sizes.compressed;
  TILLER_CHECK_FILE(member.deflated ? member.size <= bound : member.size == bound,
                    "{}: damaged: member {} cannot hold {} bytes in {}", path, member.name,
                    member.size, sizes.compressed);
  return member;
}

}  // namespace

std::uint64_t inflate_bound(std::uint64_t compressed) {
  constexpr std::uint64_t kRatio = 1032;  // 258 bytes in two bits
  return compressed > (std::uint64_t{1} << 50) ? ~std::uint64_t{0} : compressed * kRatio + 258;
}

std::vector<ZipMember> read_zip_directory(ByteSpan file, const std::string& path) {
  const Directory directory = find_directory(file, path);
  std::vector<ZipMember> members;
  members.reserve(directory.entries);
  ByteReader reader(file.subspan(directory.offset, directory.size), path);
  for (std::uint64_t i = 0; i < directory.entries; ++i)
    members.push_back(read_entry(reader, file, path));
  return members;
}

void check_crc(ByteSpan bytes, std::uint32_t crc, std::string_view what, const std::string& path) {
  const std::uint32_t found = crc32_of(bytes);
  TILLER_CHECK_FILE(
      found == crc,
      "{}: {} is damaged: its checksum is {:08x}, the archive says {:08x}. Fetch the file "
      "again",
      path, what, found, crc);
}

std::vector<std::uint8_t> read_zip_member(const ZipMember& member, std::uint64_t limit,
                                          const std::string& path) {
  TILLER_CHECK_FILE(member.size <= limit, "{}: member {} has {} bytes; at most {} are expected",
                    path, member.name, member.size, limit);
  std::vector<std::uint8_t> bytes(member.size);
  ZipMemberReader(member, path).read(bytes.data(), bytes.size());
  return bytes;
}

struct ZipMemberReader::Inflater {
  z_stream stream{};
  std::size_t fed = 0;  // of the member's compressed bytes
  Inflater() {
    TILLER_CHECK(inflateInit2(&stream, -MAX_WBITS) == Z_OK, "zlib: no memory to inflate with");
  }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
};

ZipMemberReader::ZipMemberReader(const ZipMember& member, std::string path)
    : member_(member), path_(std::move(path)) {
  if (member.deflated) inflater_ = std::make_unique<Inflater>();
}

ZipMemberReader::~ZipMemberReader() = default;

void ZipMemberReader::read(void* to, std::size_t bytes) {
  TILLER_CHECK_FILE(bytes <= remaining(), "{}: member {} ends early: {} bytes wanted, {} left",
                    path_, member_.name, bytes, remaining());
  auto* out = static_cast<std::uint8_t*>(to);
  if (!inflater_) {
    if (bytes) std::memcpy(out, member_.data.data() + position_, bytes);
  } else {
    z_stream& stream = inflater_->stream;
    std::size_t made = 0;
    while (made < bytes) {  // zlib counts in 32 bits, so large members go in pieces
      constexpr std::size_t kPiece = std::size_t{1} << 30;
      const std::size_t in = std::min(member_.data.size() - inflater_->fed, kPiece);
      const std::size_t room = std::min(bytes - made, kPiece);
      stream.next_in = const_cast<std::uint8_t*>(member_.data.data() + inflater_->fed);
      stream.avail_in = static_cast<uInt>(in);
      stream.next_out = out + made;
      stream.avail_out = static_cast<uInt>(room);
      const int status = inflate(&stream, Z_NO_FLUSH);
      inflater_->fed += in - stream.avail_in;
      const std::size_t now = room - stream.avail_out;
      made += now;
      const bool more = status == Z_OK && (now > 0 || in > stream.avail_in);
      TILLER_CHECK_FILE(made == bytes || more, "{}: member {} is damaged: {}", path_, member_.name,
                        stream.msg ? stream.msg : "its compressed data end early");
    }
  }
  crc_ = static_cast<std::uint32_t>(crc32_z(crc_, out, bytes));
  position_ += bytes;
  if (bytes > 0 && position_ == member_.size)
    TILLER_CHECK_FILE(
        crc_ == member_.crc,
        "{}: member {} is damaged: its checksum is {:08x}, the archive says {:08x}. Fetch "
        "the file again",
        path_, member_.name, crc_, member_.crc);
}

}  // namespace tiller
