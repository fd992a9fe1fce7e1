#include "runtime/dtype.h"

#include <array>

#include "runtime/error.h"

namespace tiller {

namespace {
struct Entry {
  const char* name;
  std::size_t size;
};
constexpr std::array<Entry, 10> kTable{{{"f32", 4},
                                        {"f16", 2},
                                        {"bf16", 2},
                                        {"f64", 8},
                                        {"i64", 8},
                                        {"i32", 4},
                                        {"u8", 1},
                                        {"i16", 2},
                                        {"i8", 1},
                                        {"bool", 1}}};
}  // namespace

std::size_t size_of(DType dtype) { return kTable[static_cast<std::size_t>(dtype)].size; }
const char* name(DType dtype) { return kTable[static_cast<std::size_t>(dtype)].name; }

DType parse_dtype(std::string_view text) {
  for (std::size_t i = 0; i < kTable.size(); ++i)
    if (text == kTable[i].name) return static_cast<DType>(i);
  fail(ErrorKind::usage, fmt::format("unknown dtype \"{}\": use f32, f16, bf16 or f64", text));
}

bool is_floating(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f64;
}

}  // namespace tiller
