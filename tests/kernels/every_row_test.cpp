// A row that no test ran fails the program: looked at when all tests are through, and only when all
// of them were asked for.
#include <gtest/gtest.h>

#include <string_view>

#include "kernels/gemm/isa.h"
#include "kernels/registry.h"
#include "tests/gpu.h"

namespace tiller::test {
namespace {

bool whole_suite() {
  const testing::UnitTest& suite = *testing::UnitTest::GetInstance();
  return suite.test_to_run_count() == suite.total_test_count() && suite.Passed();
}

// The CPU's rows, and every CUDA row.
std::vector<RowInfo> rows_of(const OpBase& op) {
  std::vector<RowInfo> rows = op.row_table(DeviceType::cpu);
  const std::vector<RowInfo> cuda = op.row_table(gpu().type);
  rows.insert(rows.end(), cuda.begin(), cuda.end());
  return rows;
}

class EveryRowRan final : public testing::Environment {
 public:
  void TearDown() override {
    if (!whole_suite()) return;
    for (const OpBase* op : all_ops())
      for (const RowInfo& row : rows_of(*op)) {
        const bool other_processor =
            std::string_view(row.name).ends_with("avx512") && !Avx512::available();
        if (row.kind == RowKind::peer || other_processor) continue;
        EXPECT_GT(row.calls, 0u) << name(row.device) << " " << op->name << ":" << row.name
                                 << " was run by no test";
      }
  }
};

const testing::Environment* const kEveryRowRan =
    testing::AddGlobalTestEnvironment(new EveryRowRan);  // NOLINT: gtest deletes it

}  // namespace
}  // namespace tiller::test
