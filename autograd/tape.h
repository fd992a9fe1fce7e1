#pragma once
// The tape: what was computed, in order, and how to go back. An operation records its backward next
// to its forward, in one file of autograd/ops/; what it lists in saved() is all that is kept.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/tensor.h"

namespace tiller {

class Tape;

class Var;
class Needs;
using Saved = std::vector<Tensor>;
/// One gradient per input, undefined where none is needed. A backward mutates nothing that it is
/// given.
using Grads = std::vector<Tensor>;
using Backward = std::function<Grads(const Saved& saved, const Tensor& dy, Needs needs)>;

/// The inputs that the current tape wants gradients for; none without a tape. Throws Error for a
/// value that another tape recorded.
Needs needs_of(const std::vector<Var>& inputs);

/// Puts an operation on the current tape and returns its output. Without a tape, or when no input
/// needs a gradient, `keep` is dropped and the output is a constant.
Var record(const char* op, const std::vector<Var>& inputs, const Tensor& output, Saved keep,
           Backward backward);

/// A tensor on its way through a network: the value, and the slot in which a tape gathers its
/// gradient. Made from a Tensor it is a constant, unless the current tape watches that very tensor
/// (or the same bytes under another shape).
class Var {
 public:
  Var() = default;
  Var(const Tensor& value);  // NOLINT: a tensor is a constant Var
  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  std::int64_t dim(int i) const { return value_.dim(i); }
  DType dtype() const { return value_.dtype(); }
  Device device() const { return value_.device(); }
  bool defined() const { return value_.defined(); }
  explicit operator bool() const { return defined(); }
  /// Whether a gradient will reach this value on the current tape.
  bool needs_grad() const;

 private:
  friend class Tape;
  friend Needs needs_of(const std::vector<Var>& inputs);
  friend Var record(const char*, const std::vector<Var>&, const Tensor&, Saved, Backward);
  friend Var checkpoint(const std::function<Var(const std::vector<Var>&)>&,
                        const std::vector<Var>&);
  Tensor value_;
  int slot_ = -1;
  std::uint64_t tape_ = 0;  ///< id of the tape that owns the slot
};

/// Which inputs of an operation need a gradient: fixed when it is recorded, before anything is
/// saved.
class Needs {
 public:
  Needs() = default;
  bool operator[](int i) const { return (bits_ >> i & 1u) != 0; }
  bool any() const { return bits_ != 0; }
  void set(int i) { bits_ |= 1u << i; }

 private:
  std::uint32_t bits_ = 0;
};

/// saved(x, stats): the tensors that a backward will want, undefined ones included.
template <class... T>
Saved saved(const T&... tensors) {
  return {tensors...};
}

/// A tensor whose gradient is asked for.
struct Leaf {
  Tensor value;
  std::string name;
};

/// Receives the gradient of each leaf, in as many parts as the leaf has uses. A part may share its
/// bytes with another leaf's: whoever wants to write into one clones it first.
class GradientSink {
 public:
  virtual ~GradientSink() = default;
  virtual void accept(const Leaf& leaf, const Tensor& gradient) = 0;
};

/// A sink that adds the parts up, in the order in which they come.
class Gradients final : public GradientSink {
 public:
  void accept(const Leaf& leaf, const Tensor& gradient) override;
  /// The gradient of a watched tensor, or an undefined tensor when none arrived.
  Tensor of(const Tensor& leaf) const;
  const std::vector<std::pair<Leaf, Tensor>>& all() const {
    return parts_;
  }  ///< in order of arrival

 private:
  std::vector<std::pair<Leaf, Tensor>> parts_;
};

/// One recorded operation, for people: `tiller graph`.
struct NodeInfo {
  const char* op;
  std::string module;
  std::vector<int> inputs;  ///< slots; -1 for a constant
  int output;
  std::string output_text;  ///< "f32[1,64,64,192]"
  std::vector<std::string> saved_text;
  std::size_t saved_bytes;  ///< counted as Tape::saved_bytes() counts
};

/// A flat list of operations in the order in which they ran. backward() walks it once from the end
/// and frees what each operation saved as soon as it is used.
class Tape {
 public:
  Tape();
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// Makes `value` a leaf: from now on Var(value) carries its slot on this tape.
  Var watch(const Tensor& value, std::string name = {});

  /// Sends d(sum(y * dy))/d(leaf) to the sink for every leaf that y depends on. dy has y's shape;
  /// an undefined dy means ones. The tape is empty afterwards: another forward pass can be recorded
  /// on it. Throws Error when y does not depend on a leaf of this tape, or when its record is gone.
  void backward(const Var& y, const Tensor& dy, GradientSink& sink);

  std::vector<NodeInfo> nodes() const;
  /// Bytes kept for the backward. Storage that is shared counts once; leaves, and constants that
  /// somebody else holds too (the weights when only the input's gradient is wanted), not at all.
  std::size_t saved_bytes() const;
  const std::vector<Leaf>& leaves() const { return leaves_; }

  /// The tape on which the calling thread records, or null.
  static Tape* current();
  /// The sink of the backward that the calling thread is in: where a checkpointed block sends the
  /// gradients of the leaves that it used. Throws Error outside a backward.
  static GradientSink& current_sink();
  /// Within a Backward: what has gathered so far as the gradient of the operation's input `input`,
  /// handed over to be added in the operation's own kernel; the Backward returns the sum. None where
  /// nothing has gathered, for a leaf, and for a value that the operation reads twice.
  static Tensor take_gathered(int input);

 private:
  friend class Var;
  friend class TapeGuard;
  friend class NoGrad;
  friend Needs needs_of(const std::vector<Var>& inputs);
  friend Var record(const char*, const std::vector<Var>&, const Tensor&, Saved, Backward);
  friend Var checkpoint(const std::function<Var(const std::vector<Var>&)>&,
                        const std::vector<Var>&);
  struct Node;
  struct LeafTable;
  struct Running;  // one call of backward()
  struct Kept;     // what nodes() and saved_bytes() count
  int new_slot() { return slots_++; }
  int slot_of(const Var& var) const;  // -1 for a constant
  std::uint64_t id_;
  int slots_ = 0;
  int spent_ = 0;  // slots below this were consumed by an earlier backward
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Leaf> leaves_;
  std::unique_ptr<LeafTable> table_;
};

/// Records the calling thread's operations on `tape` until the guard dies.
class TapeGuard {
 public:
  explicit TapeGuard(Tape& tape);
  ~TapeGuard();
  TapeGuard(const TapeGuard&) = delete;
  TapeGuard& operator=(const TapeGuard&) = delete;

 private:
  Tape* previous_;
};

/// Records nothing until the guard dies.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  Tape* previous_;
};

/// Runs `block` on `inputs` and keeps nothing but the inputs; the backward runs it again on a tape
/// of its own (Chen et al. 2016). Dropout replays from its counter. Leaves used inside get their
/// gradients through the sink of the backward that is running, part by part, so that every sum has
/// the order (and the bits) that it has without checkpoint. Whatever else the block uses that needs
/// a gradient must be among `inputs`: a captured one is an Error. Inputs may be undefined (an
/// absent option).
Var checkpoint(const std::function<Var(const std::vector<Var>&)>& block,
               const std::vector<Var>& inputs);

/// d f(x) / dx for a scalar-valued f (or d sum(f(x)) / dx): nothing else is differentiated, so no
/// weight gradient runs. `value` receives f(x) when not null.
Tensor input_gradient(const std::function<Var(const Var&)>& f, const Tensor& x,
                      Tensor* value = nullptr);
/// The same for a function of f(x) whose gradient by f(x) is known: `seed` gives it.
Tensor input_gradient(const std::function<Var(const Var&)>& f, const Tensor& x,
                      const std::function<Tensor(const Tensor& y)>& seed);

}  // namespace tiller
