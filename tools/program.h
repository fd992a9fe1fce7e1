#pragma once
#include <span>
#include <string>
#include <vector>

#include "tools/flags/flags.h"

namespace tiller {

inline constexpr const char* kVersion = "0.1.0";

/// One subcommand: its flags are in tools/flags/commands.cpp under the same name, its work in
/// tools/commands/<name>.cpp. Returns the exit code: 0, or 1 when a comparison failed.
struct Command {
  const char* name;
  int (*run)(const Flags& flags);
};

/// The commands that the program offers, in the order of its help.
std::span<const Command> commands();

/// Runs one command by its name, as the program would; errors are thrown.
int run_command(const std::string& name, const std::vector<std::string>& arguments);

/// The whole program: `arguments` without the program's name. Errors become one line on stderr and
/// the exit code of their kind (runtime/error.h).
int run_program(const std::vector<std::string>& arguments);

}  // namespace tiller
