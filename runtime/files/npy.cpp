#include "runtime/files/npy.h"

#include <array>
#include <charconv>
#include <optional>

#include "runtime/error.h"
#include "runtime/files/byte_reader.h"
#include "runtime/shape.h"

namespace tiller {

namespace {

struct Descr {
  std::string_view text;
  DType dtype;
};
constexpr std::array<Descr, 9> kDescrs{{{"<f4", DType::f32},
                                        {"<f2", DType::f16},
                                        {"<f8", DType::f64},
                                        {"<i8", DType::i64},
                                        {"<i4", DType::i32},
                                        {"<i2", DType::i16},
                                        {"|i1", DType::i8},
                                        {"|u1", DType::u8},
                                        {"|b1", DType::boolean}}};

// The header is a Python dict literal with three known keys. This parser reads that and no more:
// strings, True and False, and tuples of integers.
class Literal {
 public:
  Literal(std::string_view text, const std::string& what) : text_(text), what_(what) {}

  bool accept(char c) {
    spaces();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) damaged();
  }
  bool word(std::string_view w) {
    spaces();
    if (!text_.substr(at_).starts_with(w)) return false;
    at_ += w.size();
    return true;
  }
  std::string_view string() {
    const char quote = accept('\'') ? '\'' : (expect('"'), '"');
    const std::size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos) damaged();
    const std::string_view result = text_.substr(at_, end - at_);
    at_ = end + 1;
    return result;
  }
  std::int64_t integer() {
    spaces();
    std::int64_t value = 0;
    const char* end = text_.data() + text_.size();
    const auto [stop, error] = std::from_chars(text_.data() + at_, end, value);
    if (error != std::errc()) damaged();
    at_ = static_cast<std::size_t>(stop - text_.data());
    (void)accept('L');  // Python 2 wrote long integers so
    return value;
  }
  // A structured dtype: a list of field tuples, skipped whole to be named in the message.
  std::string_view bracketed() {
    const std::size_t begin = at_;
    int depth = 0;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '[') ++depth;
      if (text_[at_] == ']' && --depth == 0) return text_.substr(begin, ++at_ - begin);
    }
    damaged();
  }
  bool next_is(char c) {
    spaces();
    return at_ < text_.size() && text_[at_] == c;
  }
  [[noreturn]] void damaged() {
    fail(ErrorKind::checkpoint, fmt::format("{}: its npy header is damaged", what_));
  }

 private:
  void spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  std::string_view text_;
  const std::string& what_;
  std::size_t at_ = 0;
};

void apply_descr(NpyHeader& header, std::string_view descr) {
  for (const Descr& known : kDescrs) {
    // Single bytes have no order ('|'), and '=' is this machine's, which is little-endian.
    const bool order = descr.starts_with(known.text[0]) || descr.starts_with('=') ||
                       (descr.starts_with('<') && known.text[0] == '|');
    if (!order || descr.substr(1) != known.text.substr(1)) continue;
    header.dtype = known.dtype;
    return;
  }
  std::string why = "numbers of this type are not read; convert it with astype() in numpy";
  if (descr.starts_with('>'))
    why = "it is big-endian; save it again with array.astype(array.dtype.newbyteorder('<'))";
  if (descr.find('O') != std::string_view::npos)
    why = "it holds Python objects, which only Python could execute; save plain numbers instead";
  else if (descr.find('U') != std::string_view::npos || descr.find('S') != std::string_view::npos)
    why = "it holds text, not numbers";
  else if (descr.starts_with('['))
    why = "it holds records; save each field as its own array";
  header.unsupported = fmt::format("its dtype is '{}': {}", descr.substr(0, 80), why);
}

}  // namespace

NpyHeader read_npy_header(ByteSpan bytes, const std::string& what) {
  ByteReader reader(bytes.first(std::min(bytes.size(), kNpyHeaderLimit)), what);
  TILLER_CHECK_FILE(reader.text(6) == "\x93NUMPY", "{} is not an npy array", what);
  const int version = reader.u8();
  reader.u8();
  TILLER_CHECK_FILE(version >= 1 && version <= 3, "{}: npy version {} is not known", what, version);
  const std::size_t length = version == 1 ? reader.u16() : reader.u32();
  TILLER_CHECK_FILE(length <= kNpyHeaderLimit - 12,
                    "{}: its npy header has {} bytes; at most {} are read", what, length,
                    kNpyHeaderLimit - 12);
  Literal literal(reader.text(length), what);

  NpyHeader header;
  header.header_bytes = reader.position();
  bool descr = false, order = false, shape = false;
  literal.expect('{');
  while (!literal.accept('}')) {
    const std::string_view key = literal.string();
    literal.expect(':');
    if (key == "descr" && !descr) {
      apply_descr(header, literal.next_is('[') ? literal.bracketed() : literal.string());
      descr = true;
    } else if (key == "fortran_order" && !order) {
      header.fortran_order = literal.word("True");
      if (!header.fortran_order && !literal.word("False")) literal.damaged();
      order = true;
    } else if (key == "shape" && !shape) {
      literal.expect('(');
      while (!literal.accept(')')) {
        header.shape.push_back(literal.integer());
        if (header.shape.back() < 0) literal.damaged();
        if (!literal.accept(',') && !literal.next_is(')')) literal.damaged();
      }
      shape = true;
    } else {
      literal.damaged();
    }
    if (!literal.accept(',') && !literal.next_is('}')) literal.damaged();
  }
  if (!descr || !order || !shape) literal.damaged();
  if (header.unsupported.empty() && header.shape.size() > Shape::kMaxRank)
    header.unsupported = fmt::format("it has {} dimensions; at most {} are read",
                                     header.shape.size(), Shape::kMaxRank);
  std::uint64_t count = 1;
  for (const std::int64_t n : header.shape)
    if (__builtin_mul_overflow(count, static_cast<std::uint64_t>(n), &count)) literal.damaged();
  if (__builtin_mul_overflow(count, size_of(header.dtype), &header.data_bytes) ||
      header.data_bytes > (std::uint64_t{1} << 60))
    literal.damaged();
  return header;
}

std::string npy_header(DType dtype, const std::vector<std::int64_t>& shape) {
  std::string_view descr;
  for (const Descr& known : kDescrs)
    if (known.dtype == dtype) descr = known.text;
  TILLER_CHECK(!descr.empty(), "numpy has no {}: cast to f32 before writing an npy or npz file",
               name(dtype));
  std::string dims;
  for (const std::int64_t n : shape) dims += fmt::format("{}{}", dims.empty() ? "" : ", ", n);
  if (shape.size() == 1) dims += ",";
  std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr, dims);
  // numpy leaves room for the first dimension to grow to 21 digits in place.
  if (!shape.empty()) text.append(21 - fmt::formatted_size("{}", shape[0]), ' ');
  constexpr std::size_t kPrefix = 10, kAlignment = 64;
  const std::size_t used = kPrefix + text.size() + 1;
  text.append((kAlignment - used % kAlignment) % kAlignment, ' ');
  text += '\n';
  std::string header = "\x93NUMPY";
  header += '\x01';
  header += '\x00';
  header += static_cast<char>(text.size() & 0xFF);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

}  // namespace tiller
