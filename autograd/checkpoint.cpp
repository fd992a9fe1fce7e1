// Activation checkpointing (Chen et al. 2016, "Training deep nets with sublinear memory cost").
#include "autograd/tape_internal.h"
#include "runtime/trace.h"

namespace tiller {

namespace {

// The same bytes under an identity of their own. A block may be given one tensor twice, or may use
// as a constant what it was also given as an input: their gradients must not mix.
Tensor alias(const Tensor& t) {
  const std::shared_ptr<Storage>& storage = t.storage();
  return Tensor::view(
      Storage::borrow(storage->data(), storage->bytes(), storage->device(), storage), t.shape(),
      t.dtype(), t.offset(), t.row_stride());
}

// The gradients of a block that runs again: those of its inputs go on to the slots of the tape
// outside, those of other leaves to that tape's sink.
class BlockSink final : public GradientSink {
 public:
  using Deliver = std::function<void(int slot, const Tensor& gradient)>;
  BlockSink(GradientSink& outer, Deliver deliver) : outer_(outer), deliver_(std::move(deliver)) {}
  void input(const Tensor& leaf, int slot) { inputs_[tape_detail::identity(leaf)] = slot; }
  void accept(const Leaf& leaf, const Tensor& gradient) override {
    const auto found = inputs_.find(tape_detail::identity(leaf.value));
    if (found == inputs_.end()) return outer_.accept(leaf, gradient);
    deliver_(found->second, gradient);
  }

 private:
  GradientSink& outer_;
  Deliver deliver_;
  std::map<tape_detail::Identity, int> inputs_;
};

}  // namespace

Var checkpoint(const std::function<Var(const std::vector<Var>&)>& block,
               const std::vector<Var>& inputs) {
  Tape* const outer = Tape::current();
  if (!outer) return block(inputs);
  Saved keep;
  std::vector<int> slots;
  std::vector<Var> constants;
  const auto constant = [](const Tensor& value) {
    Var var;  // not Var(value), which may turn out to be a leaf
    var.value_ = value;
    return var;
  };
  for (const Var& input : inputs) {
    keep.push_back(input.value());
    slots.push_back(outer->slot_of(input));
    constants.push_back(constant(input.value()));
  }
  std::vector<Var> recorded = inputs;
  Tensor output;
  if (needs_of(inputs).any()) {
    const NoGrad no_recording;
    output = block(constants).value();
  } else {
    // Only the leaves that it uses can make this block worth recording. Which they are, if any,
    // shows on a tape that is thrown away.
    Tape trial;
    for (const Leaf& leaf : outer->leaves()) trial.watch(leaf.value);
    const TapeGuard guard(trial);
    const Var y = block(constants);
    if (!y.needs_grad()) return constant(y.value());
    output = y.value();
    // Any leaf will do to make record() see that a gradient is needed.
    const Leaf& leaf = outer->leaves().front();
    recorded.push_back(outer->watch(leaf.value));
  }
  const Var result = record("checkpoint", recorded, output, std::move(keep),
                            [block, slots](const Saved& s, const Tensor& dy, Needs) {
                              Tape::Running& running = *Tape::Running::now;
                              BlockSink sink(running.sink, [&](int slot, const Tensor& gradient) {
                                running.deliver(slot, gradient);
                              });
                              Tape inner;
                              for (const Leaf& leaf : running.tape.leaves())
                                inner.watch(leaf.value, leaf.name);
                              std::vector<Var> again;
                              for (std::size_t i = 0; i < s.size(); ++i) {
                                if (slots[i] < 0) {
                                  again.emplace_back(s[i]);  // no tape is current: a constant
                                  continue;
                                }
                                again.push_back(inner.watch(alias(s[i])));
                                sink.input(again.back().value(), slots[i]);
                              }
                              Var y;
                              {
                                const TapeGuard recording(inner);
                                const PhaseScope phase("recompute");
                                y = block(again);
                              }
                              if (y.slot_ >= 0 && y.tape_ == inner.id_) inner.backward(y, dy, sink);
                              return Grads();
                            });
  outer->nodes_.back()->delivers_itself = true;
  return result;
}

}  // namespace tiller
