#include "autograd/optimizer_ops.h"

namespace tiller {

void step_adamw(const AdamWArgs& args) {
  check(args);
  run(adamw, args);
}

void step_ema(const EmaArgs& args) {
  check(args);
  run(ema_update, args);
}

}  // namespace tiller
