#include "nn/module.h"

namespace tiller {

namespace {
thread_local ForwardOptions current_options;
thread_local ActivationObserver* current_observer = nullptr;
}  // namespace

const ForwardOptions& forward_options() { return current_options; }

ForwardOptionsGuard::ForwardOptionsGuard(const ForwardOptions& options)
    : previous_(current_options) {
  current_options = options;
}
ForwardOptionsGuard::~ForwardOptionsGuard() { current_options = previous_; }

ActivationObserver*& activation_observer() { return current_observer; }

}  // namespace tiller
