#pragma once
#include <cstring>
#include <string>
#include <string_view>

#include "runtime/error.h"
#include "runtime/files/mapped_file.h"

namespace tiller {

/// A position in a run of bytes that cannot leave it. Every take checks what is left; running out
/// throws Error(kind) "<what> ends early, after N bytes". Numbers are little-endian.
class ByteReader {
 public:
  ByteReader(ByteSpan bytes, std::string_view what, std::size_t position = 0,
             ErrorKind kind = ErrorKind::checkpoint)
      : bytes_(bytes), what_(what), position_(position), kind_(kind) {
    need(0);
  }
  std::size_t position() const { return position_; }
  std::size_t remaining() const { return bytes_.size() - position_; }

  ByteSpan take(std::size_t count) {
    need(count);
    const ByteSpan taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }
  std::string_view text(std::size_t count) {
    const ByteSpan taken = take(count);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  /// Up to the next newline, which is taken too but not returned.
  std::string_view line() {
    const void* end = remaining() ? std::memchr(&bytes_[position_], '\n', remaining()) : nullptr;
    if (!end) ends_early();
    const auto length = static_cast<std::size_t>(static_cast<const std::uint8_t*>(end) -
                                                 (bytes_.data() + position_));
    const std::string_view result = text(length);
    ++position_;
    return result;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::uint8_t u8() { return number<std::uint8_t>(); }
  std::uint16_t u16() { return number<std::uint16_t>(); }
  std::uint32_t u32() { return number<std::uint32_t>(); }
  std::uint64_t u64() { return number<std::uint64_t>(); }
  /// Big-endian, as PNG and JPEG have them.
  std::uint16_t big16() { return __builtin_bswap16(u16()); }
  std::uint32_t big32() { return __builtin_bswap32(u32()); }

 private:
  void need(std::size_t count) const {
    if (position_ > bytes_.size() || count > bytes_.size() - position_) ends_early();
  }
  [[noreturn]] void ends_early() const {
    fail(kind_, fmt::format("{} ends early, after {} bytes: it is damaged, or a truncated download",
                            what_, bytes_.size()));
  }
  ByteSpan bytes_;
  std::string what_;
  std::size_t position_;
  ErrorKind kind_;
};

}  // namespace tiller
