#pragma once
// Kernels written in a test, and the error that one of them ends with.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/error.h"
#include "runtime/simt_order.h"
// Last, because of its keywords.
#include "kernels/device.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

inline constexpr Stream kStream{{DeviceType::simt, 0}, nullptr};

/// Ascending, descending, and a few random orders.
inline std::vector<executor::Order> orders() {
  using Kind = executor::Order::Kind;
  return {{Kind::ascending, 0},
          {Kind::descending, 0},
          {Kind::random, 1},
          {Kind::random, 2},
          {Kind::random, 3}};
}

/// The message of the Error that a launch ends with, "" if it ends well.
template <class Params>
std::string fault_of(void (*kernel)(const Params&), const Params& params, unsigned threads,
                     std::size_t shared = 0) {
  try {
    launch({"kernel", 1, threads, shared}, kStream, kernel, params);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

#define TILLER_EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

}  // namespace TILLER_DEVICE
}  // namespace tiller
