#include "bench/checked.h"

namespace tiller::bench {

namespace {
constexpr double kReferenceFlops = 1e9;  // a second of plain loops
}

std::string Checked::operator()(Case& call, const std::string& row) {
  if (row == "reference") return {};
  std::set<std::string>& passed = passed_[call.op];
  std::string against = "reference";
  if (call.cost.flops > kReferenceFlops)
    for (const std::string& other : call.rows())
      if (other != row && passed.contains(other)) against = other;
  std::string wrong = call.verify(row, against);
  if (wrong.empty() && against == "reference") passed.insert(row);
  return wrong;
}

}  // namespace tiller::bench
