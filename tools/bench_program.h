#pragma once
#include <string>
#include <vector>

namespace tiller {

inline constexpr const char* kBenchSummary =
    "Time any operation, row and shape, each checked against the reference row first.";

/// `tiller bench`: becomes the program tiller_bench, which lies beside this one, so that this one
/// need not carry Google Benchmark. Does not return. Throws Error(failed) when it is not there.
[[noreturn]] void run_bench(const std::vector<std::string>& arguments);

}  // namespace tiller
