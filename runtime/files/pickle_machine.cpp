#include "runtime/files/pickle_machine.h"

#include <algorithm>
#include <array>

#include "runtime/error.h"

namespace tiller {

namespace {

// Bounds that no state dict comes near (thirty values and five containers per tensor), and that
// keep a hostile file from taking more than some tens of MB.
constexpr std::size_t kValueLimit = std::size_t{1} << 21;
constexpr std::size_t kNodeLimit = std::size_t{1} << 19;
constexpr std::size_t kRankLimit = 64;  // PyTorch's own

struct StorageType {
  std::string_view name;
  DType dtype;
};
constexpr std::array<StorageType, 10> kStorageTypes{{{"FloatStorage", DType::f32},
                                                     {"HalfStorage", DType::f16},
                                                     {"BFloat16Storage", DType::bf16},
                                                     {"DoubleStorage", DType::f64},
                                                     {"LongStorage", DType::i64},
                                                     {"IntStorage", DType::i32},
                                                     {"ShortStorage", DType::i16},
                                                     {"CharStorage", DType::i8},
                                                     {"ByteStorage", DType::u8},
                                                     {"BoolStorage", DType::boolean}}};

enum Opcode : std::uint8_t {
  kProto = 0x80,
  kStop = '.',
  kMark = '(',
  kGlobal = 'c',
  kReduce = 'R',
  kBuild = 'b',
  kNewObj = 0x81,
  kBinPersId = 'Q',
  kEmptyDict = '}',
  kEmptyList = ']',
  kEmptyTuple = ')',
  kEmptySet = 0x8f,
  kTuple = 't',
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kSetItem = 's',
  kSetItems = 'u',
  kAppend = 'a',
  kAppends = 'e',
  kBinUnicode = 'X',
  kShortBinString = 'U',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kLong1 = 0x8a,
  kBinFloat = 'G',
  kNone = 'N',
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kBinPut = 'q',
  kLongBinPut = 'r',
  kBinGet = 'h',
  kLongBinGet = 'j',
};

}  // namespace

void PickleMachine::damaged(const char* why) const {
  fail(ErrorKind::checkpoint,
       fmt::format("{} is damaged: {} (at byte {} of the pickle)", what_, why, reader_.position()));
}

void PickleMachine::unknown(std::uint8_t opcode) const {
  fail(ErrorKind::checkpoint,
       fmt::format(
           "{}: the pickle holds opcode 0x{:02x} at byte {}, which PyTorch's weights never need: "
           "it is damaged, or was pickled with another protocol than 2. If you trust it, load it "
           "in PyTorch and save its state_dict() again",
           what_, opcode, reader_.position()));
}

void PickleMachine::spend(std::size_t values) {
  spent_ += values;
  TILLER_CHECK_FILE(spent_ <= kValueLimit,
                    "{}: its pickle is larger than any state dict: more than {} "
                    "values",
                    what_, kValueLimit);
}

void PickleMachine::push(PickleValue value) {
  spend(1);
  stack_.push_back(value);
}

PickleValue PickleMachine::pop() {
  const PickleValue value = top();
  stack_.pop_back();
  return value;
}

PickleValue& PickleMachine::top() {
  // What lies below a mark belongs to an outer container.
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) damaged("a value is missing");
  return stack_.back();
}

std::vector<PickleValue> PickleMachine::pop_to_mark() {
  if (marks_.empty()) damaged("a mark is missing");
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  marks_.pop_back();
  std::vector<PickleValue> values(first, stack_.end());
  stack_.erase(first, stack_.end());
  return values;
}

template <class Table, class Node>
PickleValue PickleMachine::make(Kind kind, Table& table, Node&& node) {
  TILLER_CHECK_FILE(table.size() < kNodeLimit,
                    "{}: its pickle is larger than any state dict: more than "
                    "{} containers",
                    what_, kNodeLimit);
  table.push_back(std::forward<Node>(node));
  return {kind, static_cast<std::int64_t>(table.size() - 1)};
}

PickleValue PickleMachine::inert(PickleValue type) {
  if (type.is(Kind::global)) return {Kind::object, type.payload};
  return make(Kind::object, result_.globals_, Pickle::Global{"", "unknown"});
}

std::vector<std::int64_t> PickleMachine::integers(PickleValue tuple) {
  if (!tuple.is(Kind::tuple) && !tuple.is(Kind::list)) damaged("a tensor's shape is no tuple");
  const std::vector<PickleValue>& items = result_.items(tuple);
  if (items.size() > kRankLimit) damaged("a tensor has too many dimensions");
  spend(items.size());
  std::vector<std::int64_t> numbers;
  for (const PickleValue item : items) {
    if (!item.is(Kind::integer) || item.payload < 0)
      damaged("a tensor's shape is no list of counts");
    numbers.push_back(item.payload);
  }
  return numbers;
}

// _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks)
PickleValue PickleMachine::make_tensor(const std::vector<PickleValue>& arguments) {
  if (arguments.size() < 4 || !arguments[0].is(Kind::storage) || !arguments[1].is(Kind::integer) ||
      arguments[1].payload < 0)
    damaged("a tensor lacks its storage");
  PickleTensor tensor;
  tensor.storage = arguments[0].index();
  tensor.shape = integers(arguments[2]);
  tensor.stride = integers(arguments[3]);
  if (tensor.shape.size() != tensor.stride.size())
    damaged("a tensor's strides do not fit its shape");
  if (__builtin_add_overflow(arguments[1].payload, result_.storages_[tensor.storage].view_offset,
                             &tensor.offset))
    damaged("a tensor's offset overflows");
  return make(Kind::tensor, result_.tensors_, std::move(tensor));
}

// OrderedDict() or OrderedDict([[key, value], ...]), as Python 2 wrote it.
PickleValue PickleMachine::make_dict(PickleValue arguments) {
  std::vector<Pickle::Entry> entries;
  if (arguments.is(Kind::tuple) && !result_.items(arguments).empty()) {
    const PickleValue pairs = result_.items(arguments)[0];
    if (pairs.is(Kind::list) || pairs.is(Kind::tuple)) {
      spend(result_.items(pairs).size());
      for (const PickleValue pair : result_.items(pairs)) {
        if ((!pair.is(Kind::list) && !pair.is(Kind::tuple)) || result_.items(pair).size() != 2)
          damaged("an OrderedDict holds no pairs");
        entries.emplace_back(result_.items(pair)[0], result_.items(pair)[1]);
      }
    }
  }
  return make(Kind::dict, result_.dicts_, std::move(entries));
}

void PickleMachine::reduce(PickleValue function, PickleValue arguments) {
  if (!function.is(Kind::global) || !arguments.is(Kind::tuple)) return push(inert(function));
  const Pickle::Global called = result_.globals_[function.index()];
  const std::vector<PickleValue>& given = result_.items(arguments);
  if (called.module == "torch._utils") {
    if (called.name == "_rebuild_tensor_v2" || called.name == "_rebuild_tensor")
      return push(make_tensor(given));
    if (called.name == "_rebuild_parameter" || called.name == "_rebuild_parameter_with_state") {
      if (given.empty()) damaged("a parameter lacks its tensor");
      return push(given[0]);
    }
  }
  if (called.module == "collections" && called.name == "OrderedDict")
    return push(make_dict(arguments));
  if (called.module == "collections" && called.name == "defaultdict")
    return push(make(Kind::dict, result_.dicts_, std::vector<Pickle::Entry>{}));
  if (called.module == "torch" && called.name == "Size" && !given.empty() &&
      given[0].is(Kind::tuple))
    return push(given[0]);
  push(inert(function));
}

void PickleMachine::new_object() {
  const PickleValue arguments = pop();
  const PickleValue type = pop();
  if (type.is(Kind::global) && result_.globals_[type.index()].name == "OrderedDict")
    return push(make_dict(arguments));
  push(inert(type));
}

// ("storage", type, key, location, numel) and, before 1.6, a sixth: None or (key, offset, numel).
void PickleMachine::persistent_id() {
  const PickleValue id = pop();
  if (!id.is(Kind::tuple) || result_.items(id).empty() || !result_.items(id)[0].is(Kind::text))
    damaged("a persistent id is no tuple");
  const std::vector<PickleValue>& parts = result_.items(id);
  if (result_.text(parts[0]) != "storage")  // ("module", class, ...): a network saved whole
    return push(inert(parts.size() > 1 ? parts[1] : PickleValue{}));
  if (parts.size() < 5 || !parts[1].is(Kind::global) || !parts[2].is(Kind::text) ||
      !parts[4].is(Kind::integer) || parts[4].payload < 0)
    damaged("a storage's description is incomplete");
  PickleStorage storage;
  storage.key = result_.text(parts[2]);
  storage.type = result_.globals_[parts[1].index()].name;
  storage.numel = parts[4].payload;
  if (storage.key.size() > 256 || storage.type.size() > 256) damaged("a storage's key is too long");
  for (const StorageType& known : kStorageTypes)
    if (known.name == storage.type) storage.dtype = known.dtype;
  if (parts.size() > 5 && parts[5].is(Kind::tuple)) {
    const std::vector<PickleValue>& view = result_.items(parts[5]);
    if (view.size() != 3 || !view[1].is(Kind::integer) || view[1].payload < 0)
      damaged("a storage's view is incomplete");
    storage.view_offset = view[1].payload;
  }
  const std::string identity =
      fmt::format("{}/{}/{}/{}", storage.key, storage.type, storage.numel, storage.view_offset);
  const auto [found, fresh] = storage_index_.try_emplace(identity, result_.storages_.size());
  if (fresh) (void)make(Kind::storage, result_.storages_, storage);
  push(Kind::storage, static_cast<std::int64_t>(found->second));
}

void PickleMachine::global() {
  Pickle::Global name;
  name.module = reader_.line();
  name.name = reader_.line();
  push(make(Kind::global, result_.globals_, name));
}

void PickleMachine::put(std::size_t slot) {
  const PickleValue value = top();
  if (slot >= kValueLimit) damaged("a memo index is too large");
  if (slot >= memo_.size()) {
    const std::size_t size = std::max(slot + 1, std::min(kValueLimit, memo_.size() * 2));
    memo_.resize(size);
    in_memo_.resize(size);
  }
  memo_[slot] = value;
  in_memo_[slot] = true;
}

void PickleMachine::get(std::size_t slot) {
  if (slot >= memo_.size() || !in_memo_[slot]) damaged("a memo entry is missing");
  push(memo_[slot]);
}

void PickleMachine::set_items(std::vector<PickleValue> flat) {
  if (flat.size() % 2 != 0) damaged("a key lacks its value");
  const PickleValue target = top();
  if (target.is(Kind::object)) return;  // entries of an inert object are of no use
  if (!target.is(Kind::dict)) damaged("items are set in what is no dict");
  auto& entries = result_.dicts_[target.index()];
  for (std::size_t i = 0; i < flat.size(); i += 2) entries.emplace_back(flat[i], flat[i + 1]);
}

void PickleMachine::append(const std::vector<PickleValue>& values) {
  const PickleValue target = top();
  if (target.is(Kind::object)) return;
  if (!target.is(Kind::list)) damaged("items are appended to what is no list");
  auto& list = result_.lists_[target.index()];
  list.insert(list.end(), values.begin(), values.end());
}

// A little-endian two's complement integer of up to 255 bytes.
void PickleMachine::long_integer() {
  const ByteSpan bytes = reader_.take(reader_.u8());
  if (bytes.size() > 8) return push(inert({}));
  std::uint64_t value = !bytes.empty() && (bytes.back() & 0x80) ? ~std::uint64_t{0} : 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | bytes[i];
  push(Kind::integer, static_cast<std::int64_t>(value));
}

bool PickleMachine::step() {
  const std::uint8_t opcode = reader_.u8();
  switch (opcode) {
    case kProto: {
      const int protocol = reader_.u8();
      TILLER_CHECK_FILE(protocol <= 2,
                        "{} was pickled with protocol {}; PyTorch's default of 2 is read. "
                        "Load it in PyTorch and torch.save() its state_dict() again",
                        what_, protocol);
      break;
    }
    case kStop:
      return false;
    case kMark:
      spend(1);
      marks_.push_back(stack_.size());
      break;
    case kNone:
      push(Kind::none, 0);
      break;
    case kNewTrue:
      push(Kind::boolean, 1);
      break;
    case kNewFalse:
      push(Kind::boolean, 0);
      break;
    case kBinInt:
      push(Kind::integer, reader_.number<std::int32_t>());
      break;
    case kBinInt1:
      push(Kind::integer, reader_.u8());
      break;
    case kBinInt2:
      push(Kind::integer, reader_.u16());
      break;
    case kLong1:
      long_integer();
      break;
    case kBinFloat:  // the one big-endian field
      push(Kind::real, static_cast<std::int64_t>(__builtin_bswap64(reader_.u64())));
      break;
    case kBinUnicode:
      push(make(Kind::text, result_.texts_, reader_.text(reader_.u32())));
      break;
    case kShortBinString:
      push(make(Kind::text, result_.texts_, reader_.text(reader_.u8())));
      break;
    case kEmptyDict:
      push(make(Kind::dict, result_.dicts_, std::vector<Pickle::Entry>{}));
      break;
    case kEmptyList:
      push(make(Kind::list, result_.lists_, std::vector<PickleValue>{}));
      break;
    case kEmptySet:
      push(inert({}));
      break;
    case kEmptyTuple:
      push(make(Kind::tuple, result_.tuples_, std::vector<PickleValue>{}));
      break;
    case kTuple:
      push(make(Kind::tuple, result_.tuples_, pop_to_mark()));
      break;
    case kTuple1:
    case kTuple2:
    case kTuple3: {
      std::vector<PickleValue> items(static_cast<std::size_t>(opcode - kTuple1 + 1));
      for (std::size_t i = items.size(); i-- > 0;) items[i] = pop();
      push(make(Kind::tuple, result_.tuples_, std::move(items)));
      break;
    }
    case kAppend:
      append({pop()});
      break;
    case kAppends:
      append(pop_to_mark());
      break;
    case kSetItem: {
      const PickleValue value = pop();
      const PickleValue key = pop();
      set_items({key, value});
      break;
    }
    case kSetItems:
      set_items(pop_to_mark());
      break;
    case kGlobal:
      global();
      break;
    case kReduce: {
      const PickleValue arguments = pop();
      reduce(pop(), arguments);
      break;
    }
    case kNewObj:
      new_object();
      break;
    case kBuild:
      pop();
      (void)top();
      break;  // __setstate__ would run code; its state is dropped
    case kBinPersId:
      persistent_id();
      break;
    case kBinPut:
      put(reader_.u8());
      break;
    case kLongBinPut:
      put(reader_.u32());
      break;
    case kBinGet:
      get(reader_.u8());
      break;
    case kLongBinGet:
      get(reader_.u32());
      break;
    default:
      unknown(opcode);
  }
  return true;
}

Pickle PickleMachine::run() {
  while (step()) {
  }
  if (!marks_.empty() || stack_.size() != 1) damaged("it does not end with one value");
  result_.root_ = stack_.back();
  return std::move(result_);
}

}  // namespace tiller
