#pragma once
// What tape.cpp and checkpoint.cpp share: a node, the table of leaves, a backward that is running.
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "autograd/tape.h"

namespace tiller {

namespace tape_detail {

extern thread_local Tape* current_tape;

/// Two handles are the same leaf when they view the same bytes: storage, offset, count and, for a
/// channel slice, columns and row stride. The shape may differ.
using Identity = std::tuple<const Storage*, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
Identity identity(const Tensor& t);

}  // namespace tape_detail

/// One recorded operation.
struct Tape::Node {
  const char* op;
  std::string module;
  std::vector<int> inputs;  // slots; -1 for a constant
  std::vector<Shape> input_shapes;
  std::vector<const Storage*> constants;  // of the inputs without a slot, only to be compared
  int output;
  Shape output_shape;
  DType output_dtype;
  Needs needs;
  Saved saved;
  Backward backward;
  bool delivers_itself = false;  // a checkpoint hands its gradients on part by part
};

struct Tape::LeafTable {
  std::map<tape_detail::Identity, int> slot_of;  // tensor -> slot
  std::map<int, std::size_t> leaf_of;            // slot -> index into leaves_
  int find(const Tensor& t) const {
    const auto found = slot_of.find(tape_detail::identity(t));
    return found == slot_of.end() ? -1 : found->second;
  }
};

/// One call of backward(): where its gradients gather. Calls nest when a checkpointed block is run
/// again.
struct Tape::Running {
  Running(Tape& t, GradientSink& s)
      : tape(t), sink(s), gradients(static_cast<std::size_t>(t.slots_)), outer(now) {
    now = this;
  }
  ~Running() { now = outer; }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  /// Adds to a slot's gradient, or hands it to the sink when the slot is a leaf.
  void deliver(int slot, const Tensor& gradient);

  Tape& tape;
  GradientSink& sink;
  std::vector<Tensor> gradients;  // by slot; freed as soon as they are used
  const Node* node = nullptr;     // whose backward runs
  Running* outer;
  static thread_local Running* now;
};

}  // namespace tiller
