#pragma once
#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace tiller {

/// What went wrong, as the program's exit code.
enum class ErrorKind : int {
  failed = 1,         ///< anything not listed below
  usage = 2,          ///< a wrong flag or argument
  checkpoint = 3,     ///< a file that is damaged, of another kind, or does not fit the network
  out_of_memory = 4,  ///< an allocation that the device refused
  interrupted = 130,  ///< Ctrl-C
};

/// Every error of the library. The message names the violated condition, the values and what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }
  int exit_code() const { return static_cast<int>(kind_); }

 private:
  ErrorKind kind_;
};

/// Throws Error(kind) with `message`, to which the current module's path is added ("..., in
/// input_blocks.4.0.in_layers.0") when a network is running.
[[noreturn]] void fail(ErrorKind kind, std::string message);

}  // namespace tiller

/// Throws Error(failed) with a formatted message unless the condition holds. The message is
/// formatted only then. It should read "group_norm: C=190 is not divisible by groups=32, x
/// f16[2,64,64,190]".
#define TILLER_CHECK(condition, ...)                                           \
  do {                                                                         \
    if (!(condition)) [[unlikely]]                                             \
      ::tiller::fail(::tiller::ErrorKind::failed, ::fmt::format(__VA_ARGS__)); \
  } while (false)

/// As TILLER_CHECK, for a file that is damaged or does not fit: Error(checkpoint).
#define TILLER_CHECK_FILE(condition, ...)                                          \
  do {                                                                             \
    if (!(condition)) [[unlikely]]                                                 \
      ::tiller::fail(::tiller::ErrorKind::checkpoint, ::fmt::format(__VA_ARGS__)); \
  } while (false)
