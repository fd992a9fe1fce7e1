#pragma once
// The stack machine behind Pickle::read(). Opcodes: Lib/pickletools.py of Python describes each.
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/files/pickle.h"

namespace tiller {

class PickleMachine {
 public:
  PickleMachine(ByteReader& reader, const std::string& what) : reader_(reader), what_(what) {}
  Pickle run();

 private:
  using Kind = PickleValue::Kind;

  bool step();  // one opcode; false at STOP
  [[noreturn]] void damaged(const char* why) const;
  [[noreturn]] void unknown(std::uint8_t opcode) const;
  /// Counts work and memory: every value that is pushed or copied. A real state dict spends some
  /// thirty per tensor.
  void spend(std::size_t values);

  void push(PickleValue value);
  void push(Kind kind, std::int64_t payload) { push(PickleValue{kind, payload}); }
  PickleValue pop();
  PickleValue& top();
  std::vector<PickleValue> pop_to_mark();

  /// Appends `node` to `table` and gives a value of `kind` that names it.
  template <class Table, class Node>
  PickleValue make(Kind kind, Table& table, Node&& node);
  PickleValue inert(PickleValue type);
  PickleValue make_dict(PickleValue arguments);
  PickleValue make_tensor(const std::vector<PickleValue>& arguments);
  std::vector<std::int64_t> integers(PickleValue tuple);

  void put(std::size_t slot);
  void get(std::size_t slot);
  void global();
  void reduce(PickleValue function, PickleValue arguments);
  void new_object();
  void persistent_id();
  void set_items(std::vector<PickleValue> flat);
  void append(const std::vector<PickleValue>& values);
  void long_integer();

  ByteReader& reader_;
  const std::string& what_;
  Pickle result_;
  std::vector<PickleValue> stack_;
  std::vector<std::size_t> marks_;
  std::vector<PickleValue> memo_;
  std::vector<bool> in_memo_;
  std::unordered_map<std::string, std::size_t> storage_index_;
  std::size_t spent_ = 0;
};

}  // namespace tiller
