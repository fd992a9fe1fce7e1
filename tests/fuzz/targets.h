#pragma once
// One entry per reader of files. libFuzzer calls them (tests/fuzz/fuzz_main.cpp), and so does the test
// that replays damaged files and old findings (tests/runtime/files_bad_input_test.cpp).
#include <array>
#include <cstddef>
#include <cstdint>

namespace tiller::fuzz {

/// Reads the bytes as one kind of file, and everything in it. tiller::Error is the proper answer to bad
/// bytes and is swallowed; any other exception passes. Returns 0, as libFuzzer wants it.
using Target = int (*)(const std::uint8_t* data, std::size_t size);

int pt_zip(const std::uint8_t* data, std::size_t size);
int pt_legacy(const std::uint8_t* data, std::size_t size);
int pickle(const std::uint8_t* data, std::size_t size);
int safetensors(const std::uint8_t* data, std::size_t size);
int npz(const std::uint8_t* data, std::size_t size);
int image(const std::uint8_t* data, std::size_t size);
int optimizer(const std::uint8_t* data, std::size_t size);

struct Named {
  const char* name;
  Target target;
};
inline constexpr std::array<Named, 7> kTargets{{{"pt_zip", pt_zip},
                                                {"pt_legacy", pt_legacy},
                                                {"pickle", pickle},
                                                {"safetensors", safetensors},
                                                {"npz", npz},
                                                {"image", image},
                                                {"optimizer", optimizer}}};

}  // namespace tiller::fuzz
