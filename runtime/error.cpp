#include "runtime/error.h"

#include "runtime/trace.h"

namespace tiller {

void fail(ErrorKind kind, std::string message) {
  const std::string& module = current_module();
  if (!module.empty()) message += fmt::format(", in {}", module);
  throw Error(kind, message);
}

}  // namespace tiller
