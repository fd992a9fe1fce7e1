#include "tools/program.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <new>
#include <optional>

#include "runtime/env.h"
#include "runtime/op.h"
#include "runtime/parallel.h"
#include "tools/commands/commands.h"
#include "tools/report/trace_printer.h"

namespace tiller {

namespace {

constexpr const char* kVersion = "0.1.0";

constexpr Command kCommands[] = {
    {"demo", demo_command},       {"verify", verify_command}, {"inspect", inspect_command},
    {"convert", convert_command}, {"graph", graph_command},   {"gradcheck", gradcheck_command},
    {"devices", devices_command},
};

void print_help() {
  fmt::print(
      "Tiller {}: classifier-guided diffusion from the bare metal up.\n\n"
      "usage: tiller COMMAND [arguments] [--flags]\n\ncommands:\n",
      kVersion);
  for (const Command& command : commands())
    fmt::print("  {:<17} {}\n", command.name, command_spec(command.name).summary);
  fmt::print(
      "\ntiller COMMAND --help lists a command's flags. Data goes to stdout, everything else to "
      "stderr.\n"
      "exit codes: 0 done, 1 failed, 2 usage, 3 bad checkpoint, 4 out of memory, 130 "
      "interrupted\n");
}

const Command& find_command(const std::string& name) {
  std::vector<std::string_view> names;
  for (const Command& command : commands()) {
    if (name == command.name) return command;
    names.push_back(command.name);
  }
  const std::string_view near = nearest(name, names);
  fail(ErrorKind::usage, fmt::format("unknown command '{}'{}; tiller --help lists them", name,
                                     near.empty() ? "" : fmt::format("; did you mean {}?", near)));
}

int run_command(const std::string& name, const std::vector<std::string>& arguments) {
  const Command& command = find_command(name);
  const Flags flags = Flags::parse(command_spec(name), arguments);
  if (flags.help()) {
    fmt::print("{}", help_text(flags.command()));
    return 0;
  }
  if (flags.accepts("threads") && flags.given("threads")) set_threads(flags.get<int>("threads"));
  std::optional<ForceRows> forced;
  if (flags.accepts("kernel") && flags.given("kernel"))
    forced.emplace(flags.get<std::string>("kernel"));
  const std::unique_ptr<TracePrinter> printer = trace_printer_from_environment();
  return command.run(flags);
}

int dispatch(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    print_help();
    return static_cast<int>(ErrorKind::usage);
  }
  const std::string& first = arguments[0];
  if (first == "--help" || first == "-h" || first == "help") {
    if (first == "help" && arguments.size() > 1) return run_command(arguments[1], {"--help"});
    print_help();
    return 0;
  }
  if (first == "--version") {
    fmt::print("tiller {}\n", kVersion);
    return 0;
  }
  return run_command(first, {arguments.begin() + 1, arguments.end()});
}

void report(const std::string& message) { fmt::print(stderr, "tiller: {}\n", message); }

// What was printed must have arrived: a full disk behind `> file` shows only here.
int flush_output(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  report("could not write the output (is the disk full?)");
  return static_cast<int>(ErrorKind::failed);
}

extern "C" void exit_interrupted(int) { _exit(static_cast<int>(ErrorKind::interrupted)); }

}  // namespace

std::span<const Command> commands() { return kCommands; }

int run_program(const std::vector<std::string>& arguments) {
  std::signal(SIGPIPE, SIG_IGN);  // `tiller inspect ... | head` ends with a failed write, quietly
  std::signal(SIGINT, exit_interrupted);  // commands with something to save install their own
  std::signal(SIGTERM, exit_interrupted);
  try {
    return flush_output(dispatch(arguments));
  } catch (const Error& error) {
    std::fflush(stdout);
    report(error.what());
    return error.exit_code();
  } catch (const std::bad_alloc&) {
    report("out of memory");
    return static_cast<int>(ErrorKind::out_of_memory);
  } catch (const std::exception& error) {
    report(error.what());
    return static_cast<int>(ErrorKind::failed);
  }
}

}  // namespace tiller
