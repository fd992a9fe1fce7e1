#include "autograd/tape.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <utility>

#include "autograd/ops.h"
#include "autograd/tape_internal.h"
#include "runtime/trace.h"

namespace tiller {

namespace {

std::uint64_t next_tape_id() {
  static std::atomic<std::uint64_t> next{1};
  return next.fetch_add(1);
}

}  // namespace

thread_local Tape* tape_detail::current_tape = nullptr;
thread_local Tape::Running* Tape::Running::now = nullptr;
using tape_detail::current_tape;

tape_detail::Identity tape_detail::identity(const Tensor& t) {
  return {t.storage().get(), t.offset(), t.numel(), t.dense() ? 0 : t.cols(),
          t.dense() ? 0 : t.row_stride()};
}
using tape_detail::identity;

Var::Var(const Tensor& value) : value_(value) {
  if (!current_tape || !value.defined()) return;
  slot_ = current_tape->table_->find(value);
  if (slot_ >= 0) tape_ = current_tape->id_;
}

bool Var::needs_grad() const { return current_tape && current_tape->slot_of(*this) >= 0; }

int Tape::slot_of(const Var& var) const {
  if (var.slot_ < 0) return -1;
  if (var.tape_ == id_) return var.slot_;
  const int leaf = table_->find(var.value_);  // another tape's value may be a leaf of this one
  TILLER_CHECK(
      leaf >= 0,
      "a value recorded on one tape was used on another: {}; hand it to checkpoint() as an "
      "input, or take its .value() as a constant",
      to_string(var.value_));
  return leaf;
}

Needs needs_of(const std::vector<Var>& inputs) {
  TILLER_CHECK(inputs.size() <= 32, "an operation has {} inputs, more than 32", inputs.size());
  Needs needs;
  if (!current_tape) return needs;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (current_tape->slot_of(inputs[i]) >= 0) needs.set(static_cast<int>(i));
  return needs;
}

Var record(const char* op, const std::vector<Var>& inputs, const Tensor& output, Saved keep,
           Backward backward) {
  Var result;
  result.value_ = output;
  const Needs needs = needs_of(inputs);
  if (!needs.any()) return result;
  auto node = std::make_unique<Tape::Node>();
  node->op = op;
  node->module = current_module();
  for (const Var& input : inputs) {
    node->inputs.push_back(current_tape->slot_of(input));
    node->input_shapes.push_back(input.shape());
    if (node->inputs.back() < 0 && input.defined())
      node->constants.push_back(input.value().storage().get());
  }
  node->output = current_tape->new_slot();
  node->output_shape = output.shape();
  node->output_dtype = output.dtype();
  node->needs = needs;
  node->saved = std::move(keep);
  node->backward = std::move(backward);
  result.slot_ = node->output;
  result.tape_ = current_tape->id_;
  current_tape->nodes_.push_back(std::move(node));
  return result;
}

void Gradients::accept(const Leaf& leaf, const Tensor& gradient) {
  const NoGrad no_recording;
  for (auto& [known, sum] : parts_) {
    if (identity(known.value) != identity(leaf.value)) continue;
    sum = add(sum, gradient).value();
    return;
  }
  parts_.emplace_back(leaf, gradient);
}

Tensor Gradients::of(const Tensor& leaf) const {
  for (const auto& [known, sum] : parts_)
    if (identity(known.value) == identity(leaf)) return sum;
  return {};
}

Tape::Tape() : id_(next_tape_id()), table_(std::make_unique<LeafTable>()) {}
Tape::~Tape() = default;

Tape* Tape::current() { return current_tape; }

GradientSink& Tape::current_sink() {
  TILLER_CHECK(Running::now, "no backward is running");
  return Running::now->sink;
}

Var Tape::watch(const Tensor& value, std::string name) {
  TILLER_CHECK(value.defined() && is_floating(value.dtype()), "watch: {} cannot have a gradient",
               to_string(value));
  const auto [entry, added] = table_->slot_of.try_emplace(identity(value), slots_);
  if (added) {
    table_->leaf_of[new_slot()] = leaves_.size();
    leaves_.push_back({value, std::move(name)});
  }
  Var leaf;
  leaf.value_ = value;
  leaf.slot_ = entry->second;
  leaf.tape_ = id_;
  return leaf;
}

void Tape::Running::deliver(int slot, const Tensor& gradient) {
  const auto leaf = tape.table_->leaf_of.find(slot);
  if (leaf != tape.table_->leaf_of.end()) {
    const Leaf& to = tape.leaves_[leaf->second];
    return sink.accept(to, gradient.reshape(to.value.shape()));  // it may have been used reshaped
  }
  Tensor& sum = gradients[static_cast<std::size_t>(slot)];
  sum = sum.defined() ? add(sum, gradient).value() : gradient;
}

Tensor Tape::take_gathered(int input) {
  Running* const running = Running::now;
  TILLER_CHECK(running && running->node, "no backward is running");
  const std::vector<int>& inputs = running->node->inputs;
  const int slot = inputs.at(static_cast<std::size_t>(input));
  // A leaf's gradient is the sink's; and what an operation reads twice it must deliver twice.
  if (slot < 0 || running->tape.table_->leaf_of.contains(slot) ||
      std::count(inputs.begin(), inputs.end(), slot) != 1)
    return {};
  return std::exchange(running->gradients[static_cast<std::size_t>(slot)], {});
}

void Tape::backward(const Var& y, const Tensor& dy, GradientSink& sink) {
  TILLER_CHECK(y.tape_ == id_ && y.slot_ >= 0,
               "backward: {} does not depend on anything that this tape watches",
               to_string(y.value_));
  TILLER_CHECK(y.slot_ >= spent_ || table_->leaf_of.contains(y.slot_),
               "backward: the record of {} was consumed by an earlier backward",
               to_string(y.value_));
  TILLER_CHECK(!dy.defined() || (dy.shape() == y.shape() && dy.dtype() == y.dtype()),
               "backward: dy {} is not like y {}", to_string(dy), to_string(y.value_));
  const NoGrad no_recording;
  const PhaseScope phase("backward");
  Running running(*this, sink);
  running.deliver(y.slot_, dy.defined() ? dy : fill(y.shape(), y.dtype(), y.device(), 1.0));
  spent_ = slots_;
  while (!nodes_.empty()) {
    const std::unique_ptr<Node> node = std::move(nodes_.back());  // freed with all that it saved
    nodes_.pop_back();
    const Tensor gradient =
        std::exchange(running.gradients[static_cast<std::size_t>(node->output)], {});
    if (!gradient.defined()) continue;  // the result does not depend on this output
    const ModuleScope module(node->module);
    running.node = node.get();
    const Grads parts = node->backward(node->saved, gradient, node->needs);
    if (node->delivers_itself) continue;
    TILLER_CHECK(parts.size() == node->inputs.size(),
                 "{}: the backward returned {} gradients for {} inputs", node->op, parts.size(),
                 node->inputs.size());
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (!node->needs[static_cast<int>(i)]) continue;
      TILLER_CHECK(parts[i].defined() && parts[i].shape() == node->input_shapes[i],
                   "{}: the backward returned {} as the gradient of input {}, of shape {}",
                   node->op, to_string(parts[i]), i, to_string(node->input_shapes[i]));
      running.deliver(node->inputs[i], parts[i]);
    }
  }
}

// Decides which saved bytes count: all but those of leaves, and of constants that others hold as
// well.
struct Tape::Kept {
  explicit Kept(const Tape& tape) {
    for (const Leaf& leaf : tape.leaves_) leaves.insert(leaf.value.storage().get());
    for (const auto& node : tape.nodes_)
      for (const Tensor& t : node->saved)
        if (t.defined()) ++references[t.storage().get()];
  }
  bool leaf(const Tensor& t) const { return leaves.contains(t.storage().get()); }
  bool held_elsewhere(const Node& node, const Tensor& t) const {
    const Storage* storage = t.storage().get();
    return std::find(node.constants.begin(), node.constants.end(), storage) !=
               node.constants.end() &&
           t.storage().use_count() > references.at(storage);
  }
  std::set<const Storage*> leaves;
  std::map<const Storage*, long> references;  // from the tape itself
};

std::vector<NodeInfo> Tape::nodes() const {
  const Kept kept(*this);
  std::vector<NodeInfo> list;
  for (const auto& node : nodes_) {
    NodeInfo info{node->op, node->module, node->inputs, node->output, {}, {}, 0};
    info.output_text = name(node->output_dtype) + to_string(node->output_shape);
    std::set<const Storage*> seen;
    for (const Tensor& t : node->saved) {
      if (!t.defined()) continue;
      const bool leaf = kept.leaf(t), constant = kept.held_elsewhere(*node, t);
      info.saved_text.push_back(to_string(t) + (leaf ? " (leaf)" : constant ? " (constant)" : ""));
      if (!leaf && !constant && seen.insert(t.storage().get()).second)
        info.saved_bytes += t.storage()->bytes();
    }
    list.push_back(std::move(info));
  }
  return list;
}

std::size_t Tape::saved_bytes() const {
  const Kept kept(*this);
  std::set<const Storage*> seen;
  std::size_t bytes = 0;
  for (const auto& node : nodes_)
    for (const Tensor& t : node->saved)
      if (t.defined() && !kept.leaf(t) && !kept.held_elsewhere(*node, t) &&
          seen.insert(t.storage().get()).second)
        bytes += t.storage()->bytes();
  return bytes;
}

TapeGuard::TapeGuard(Tape& tape) : previous_(current_tape) { current_tape = &tape; }
TapeGuard::~TapeGuard() { current_tape = previous_; }
NoGrad::NoGrad() : previous_(current_tape) { current_tape = nullptr; }
NoGrad::~NoGrad() { current_tape = previous_; }

Tensor input_gradient(const std::function<Var(const Var&)>& f, const Tensor& x,
                      const std::function<Tensor(const Tensor& y)>& seed) {
  Tape tape;
  Gradients gradients;
  Var y;
  {
    const TapeGuard guard(tape);
    y = f(tape.watch(x, "x"));
  }
  tape.backward(y, seed(y.value()), gradients);
  return gradients.of(x);
}

Tensor input_gradient(const std::function<Var(const Var&)>& f, const Tensor& x, Tensor* value) {
  return input_gradient(f, x, [value](const Tensor& y) {
    if (value) *value = y;
    return Tensor();
  });
}

}  // namespace tiller
