#pragma once
#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/files/byte_reader.h"

namespace tiller {

/// One Python value: scalars stand in it, everything else is an index into the Pickle's tables.
struct PickleValue {
  enum class Kind : std::uint8_t {
    none,
    boolean,
    integer,
    real,  // the value itself
    text,
    tuple,
    list,
    dict,
    global,
    storage,
    tensor,  // an index
    object,  // inert: the index of its class
  };
  Kind kind = Kind::none;
  std::int64_t payload = 0;

  bool is(Kind k) const { return kind == k; }
  std::size_t index() const { return static_cast<std::size_t>(payload); }
  double real() const { return std::bit_cast<double>(payload); }
  /// The number in an integer, a real or a boolean.
  std::optional<double> number() const;
};

/// A torch storage, as a persistent id names it.
struct PickleStorage {
  std::string_view key;
  std::string_view type;         ///< "FloatStorage"
  std::optional<DType> dtype;    ///< none for types that we lack
  std::int64_t numel = 0;        ///< of the whole storage that `key` names
  std::int64_t view_offset = 0;  ///< format before 1.6: where this view of it starts, in elements
};

/// A tensor: a strided view of a storage. Offsets and strides in elements.
struct PickleTensor {
  std::size_t storage = 0;
  std::int64_t offset = 0;
  std::vector<std::int64_t> shape, stride;
};

/// What a pickle of PyTorch's describes, found without executing anything.
///
/// Python's unpickler is a small stack machine whose REDUCE calls any function that GLOBAL can
/// import: unpickling a stranger's file is running a stranger's program. This one knows the opcodes
/// that torch.load(weights_only=True) knows and no others, and a handful of globals (OrderedDict,
/// _rebuild_tensor_v2, ...), for which it builds data. Every other global is a name, every call of
/// one an inert object. Nodes live in flat tables and are never walked recursively, so that neither
/// depth nor cycles matter; their number, the stack and the memo are bounded.
///
/// Text is borrowed from the bytes, which must outlive the Pickle. Throws Error(checkpoint).
class Pickle {
 public:
  using Kind = PickleValue::Kind;
  using Entry = std::pair<PickleValue, PickleValue>;

  /// Reads one pickle and leaves `reader` right behind its STOP. `what` is used in messages.
  static Pickle read(ByteReader& reader, const std::string& what);

  PickleValue root() const { return root_; }
  std::string_view text(PickleValue value) const { return texts_[value.index()]; }
  const std::vector<PickleValue>& items(PickleValue value) const {
    return value.is(Kind::tuple) ? tuples_[value.index()] : lists_[value.index()];
  }
  /// In the order of assignment; a key that was set twice stands twice (the later counts).
  const std::vector<Entry>& entries(PickleValue dict) const { return dicts_[dict.index()]; }
  /// The value of a text key, if `dict` is a dict that has it.
  std::optional<PickleValue> find(PickleValue dict, std::string_view key) const;
  const std::vector<PickleStorage>& storages() const { return storages_; }
  const PickleTensor& tensor(PickleValue value) const { return tensors_[value.index()]; }
  /// "a dict of 3 entries", "an object of class foo.Bar": for messages.
  std::string describe(PickleValue value) const;

 private:
  friend class PickleMachine;
  struct Global {
    std::string_view module, name;
  };
  PickleValue root_;
  std::vector<std::string_view> texts_;
  std::vector<std::vector<PickleValue>> tuples_, lists_;
  std::vector<std::vector<Entry>> dicts_;
  std::vector<Global> globals_;
  std::vector<PickleStorage> storages_;
  std::vector<PickleTensor> tensors_;
};

}  // namespace tiller
