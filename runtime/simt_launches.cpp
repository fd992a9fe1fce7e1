#include "runtime/simt_launches.h"

#include <utility>

namespace tiller::executor {

namespace {
thread_local bool only_launches = false;
}  // namespace

LaunchesOnly::LaunchesOnly() : before_(std::exchange(only_launches, true)) {}
LaunchesOnly::~LaunchesOnly() { only_launches = before_; }
bool launches_only() { return only_launches; }

}  // namespace tiller::executor
