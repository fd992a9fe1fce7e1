#pragma once
#include <string>
#include <utility>

#include "autograd/ops.h"
#include "runtime/trace.h"

namespace tiller {

/// What a forward pass needs besides its inputs. Dropout runs in training only and replays from
/// `key`.
struct ForwardOptions {
  bool training = false;
  RandomKey key{.stream = RandomStream::dropout};
};

/// The options of the forward pass that the calling thread is in (defaults outside any).
const ForwardOptions& forward_options();

class ForwardOptionsGuard {
 public:
  explicit ForwardOptionsGuard(const ForwardOptions& options);
  ~ForwardOptionsGuard();
  ForwardOptionsGuard(const ForwardOptionsGuard&) = delete;
  ForwardOptionsGuard& operator=(const ForwardOptionsGuard&) = delete;

 private:
  ForwardOptions previous_;
};

/// Receives the output of every module as it is computed: how `tiller verify` finds the first block
/// that diverges. Null means nobody listens.
class ActivationObserver {
 public:
  virtual ~ActivationObserver() = default;
  virtual void on_output(const std::string& path, const Tensor& output) = 0;
};
ActivationObserver*& activation_observer();

/// Gives a module its path, and its call the trace's scope: Derived::forward(...) holds the
/// arithmetic, operator() is not virtual.
template <class Derived>
class Module {
 public:
  explicit Module(std::string path) : path_(std::move(path)) {}
  const std::string& path() const { return path_; }
  template <class... Args>
  auto operator()(const Args&... args) const {
    const ModuleScope scope(path_);
    auto output = static_cast<const Derived&>(*this).forward(args...);
    if (ActivationObserver* observer = activation_observer()) [[unlikely]]
      observe(*observer, output);
    return output;
  }

 private:
  void observe(ActivationObserver& observer, const Var& output) const {
    observer.on_output(path_, output.value());
  }
  void observe(ActivationObserver& observer, const Activation& output) const {
    observer.on_output(path_, output.x.value());
  }
  std::string path_;
};

}  // namespace tiller
