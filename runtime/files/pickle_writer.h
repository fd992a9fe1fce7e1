#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/tensor.h"

namespace tiller {

/// Writes the pickle (protocol 2) of a torch.save() file, opcode for opcode as Python's pickler
/// does for the same object, memo numbers included; tensors collect in storages(), in the order of
/// their keys.
class PickleWriter {
 public:
  PickleWriter() { op(0x80).op(2); }

  PickleWriter& none() { return op('N'); }
  PickleWriter& boolean(bool value) { return op(value ? 0x88 : 0x89); }
  PickleWriter& integer(std::int64_t value);
  PickleWriter& real(double value);
  /// Text is memoized by content: Python does so by identity, which for literals is the same.
  PickleWriter& text(std::string_view value);
  /// begin_dict, {key, value} n times, end_items. Python emits items in batches of a thousand, and
  /// a lone item without a mark; `count` tells.
  PickleWriter& begin_dict() { return op('}').memoize(); }
  PickleWriter& begin_ordered_dict();
  PickleWriter& begin_list() { return op(']').memoize(); }
  PickleWriter& begin_items(std::size_t count);
  /// Before item i of a dict or list that has `count`.
  PickleWriter& next_item(std::size_t i, std::size_t count, bool list = false);
  PickleWriter& end_items(std::size_t count, bool list = false);
  PickleWriter& mark() { return op('('); }
  /// Closes mark() or takes the last `size` (0 to 3) values.
  PickleWriter& tuple(std::size_t size);
  PickleWriter& global(std::string_view module, std::string_view name);
  PickleWriter& reduce() { return op('R').memoize(); }
  /// _rebuild_tensor_v2 of a dense tensor with a storage of its own.
  PickleWriter& tensor(const Tensor& value);

  /// Appends STOP; the writer is spent.
  std::string finish() {
    op('.');
    return std::move(bytes_);
  }
  const std::vector<Tensor>& storages() const { return storages_; }

 private:
  PickleWriter& op(int byte) {
    bytes_ += static_cast<char>(byte);
    return *this;
  }
  PickleWriter& little_endian(std::uint64_t value, int bytes);
  PickleWriter& memoize();
  bool recall(const std::string& key);
  void shape_tuple(const std::vector<std::int64_t>& values);

  std::string bytes_;
  std::uint32_t memo_size_ = 0;
  std::unordered_map<std::string, std::uint32_t> memo_;
  std::vector<Tensor> storages_;
};

}  // namespace tiller
