#include "runtime/files/pickle_writer.h"

#include <algorithm>
#include <bit>

namespace tiller {

namespace {

constexpr std::size_t kBatch = 1000;  // Python's pickler writes items in runs of so many

const char* storage_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "FloatStorage";
    case DType::f16:
      return "HalfStorage";
    case DType::bf16:
      return "BFloat16Storage";
    case DType::f64:
      return "DoubleStorage";
    case DType::i64:
      return "LongStorage";
    case DType::i32:
      return "IntStorage";
    case DType::i16:
      return "ShortStorage";
    case DType::i8:
      return "CharStorage";
    case DType::u8:
      return "ByteStorage";
    case DType::boolean:
      return "BoolStorage";
  }
  return "FloatStorage";
}

}  // namespace

PickleWriter& PickleWriter::little_endian(std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) op(static_cast<int>(value >> (8 * i) & 0xFF));
  return *this;
}

PickleWriter& PickleWriter::integer(std::int64_t value) {
  if (value >= 0 && value <= 0xFF)
    return op('K').little_endian(static_cast<std::uint64_t>(value), 1);
  if (value >= 0 && value <= 0xFFFF)
    return op('M').little_endian(static_cast<std::uint64_t>(value), 2);
  if (value == static_cast<std::int32_t>(value))
    return op('J').little_endian(static_cast<std::uint64_t>(value), 4);
  int bytes = 8;  // LONG1: two's complement, as short as its sign allows
  while (bytes > 1) {
    const std::int64_t shifted = value >> (8 * (bytes - 1) - 1);
    if (shifted != 0 && shifted != -1) break;
    --bytes;
  }
  return op(0x8a).op(bytes).little_endian(static_cast<std::uint64_t>(value), bytes);
}

PickleWriter& PickleWriter::real(double value) {
  return op('G').little_endian(__builtin_bswap64(std::bit_cast<std::uint64_t>(value)), 8);
}

PickleWriter& PickleWriter::memoize() {
  if (memo_size_ <= 0xFF) {
    op('q').little_endian(memo_size_, 1);
  } else {
    op('r').little_endian(memo_size_, 4);
  }
  ++memo_size_;
  return *this;
}

// Writes a reference to what was memoized under `key`; else remembers where it will be.
bool PickleWriter::recall(const std::string& key) {
  const auto [found, fresh] = memo_.emplace(key, memo_size_);
  if (fresh) return false;
  if (found->second <= 0xFF) {
    op('h').little_endian(found->second, 1);
  } else {
    op('j').little_endian(found->second, 4);
  }
  return true;
}

PickleWriter& PickleWriter::text(std::string_view value) {
  if (recall("text " + std::string(value))) return *this;
  op('X').little_endian(value.size(), 4);
  bytes_ += value;
  return memoize();
}

PickleWriter& PickleWriter::global(std::string_view module, std::string_view name) {
  const std::string both = fmt::format("{}\n{}\n", module, name);
  if (recall("global " + both)) return *this;
  op('c');
  bytes_ += both;
  return memoize();
}

PickleWriter& PickleWriter::begin_ordered_dict() {
  return global("collections", "OrderedDict").tuple(0).reduce();
}

PickleWriter& PickleWriter::begin_items(std::size_t count) { return count > 1 ? mark() : *this; }

PickleWriter& PickleWriter::next_item(std::size_t i, std::size_t count, bool list) {
  if (i == 0 || i % kBatch != 0) return *this;
  op(list ? 'e' : 'u');
  return count - i > 1 ? mark() : *this;
}

PickleWriter& PickleWriter::end_items(std::size_t count, bool list) {
  if (count == 0) return *this;
  const bool lone = count % kBatch == 1;
  if (list) return op(lone ? 'a' : 'e');
  return op(lone ? 's' : 'u');
}

PickleWriter& PickleWriter::tuple(std::size_t size) {
  if (size == 0) return op(')');  // the empty tuple is not memoized
  if (size <= 3) return op(0x84 + static_cast<int>(size)).memoize();
  return op('t').memoize();
}

void PickleWriter::shape_tuple(const std::vector<std::int64_t>& values) {
  if (values.size() > 3) mark();
  for (const std::int64_t n : values) integer(n);
  tuple(values.size());
}

PickleWriter& PickleWriter::tensor(const Tensor& value) {
  const Tensor host = value.to(kCpu).contiguous();
  const std::string key = fmt::format("{}", storages_.size());
  storages_.push_back(host);
  const std::vector<std::int64_t> shape(host.shape().begin(), host.shape().end());
  std::vector<std::int64_t> stride(shape.size());
  std::int64_t step = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    stride[d] = step;
    step *= std::max<std::int64_t>(shape[d], 1);
  }
  global("torch._utils", "_rebuild_tensor_v2").mark();
  mark().text("storage").global("torch", storage_type(host.dtype())).text(key).text("cpu");
  integer(host.numel()).op('t').memoize().op('Q');
  integer(0);
  shape_tuple(shape);
  shape_tuple(stride);
  boolean(false).begin_ordered_dict();
  op('t').memoize();
  return reduce();
}

}  // namespace tiller
