#pragma once
#include <span>
#include <string>

namespace tiller {

/// One environment variable that Tiller reads. This table is the only place where they are
/// declared.
struct EnvVariable {
  const char* name;
  const char* help;
};

/// All of them, for `tiller devices` and the chapter.
std::span<const EnvVariable> environment_variables();

/// The value of a declared variable, "" if unset. Throws Error for a name that is not declared.
std::string environment(const char* name);

}  // namespace tiller
