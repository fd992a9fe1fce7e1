#include "tools/program.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <system_error>

#include "runtime/env.h"
#include "runtime/op.h"
#include "runtime/parallel.h"
#include "tools/bench_program.h"
#include "tools/commands/commands.h"
#include "tools/report/printable.h"
#include "tools/report/trace_printer.h"

namespace tiller {

namespace {

constexpr Command kCommands[] = {
    {"demo", demo_command},
    {"sample", sample_command},
    {"upsample", upsample_command},
    {"train", train_command},
    {"train-classifier", train_classifier_command},
    {"nll", nll_command},
    {"verify", verify_command},
    {"inspect", inspect_command},
    {"convert", convert_command},
    {"graph", graph_command},
    {"gradcheck", gradcheck_command},
    {"devices", devices_command},
    {"profile", profile_command},
    {"plot", plot_command},
    {"quality", quality_command},
};

void print_help() {
  fmt::print(
      "Tiller {}: classifier-guided diffusion from the bare metal up.\n\n"
      "usage: tiller COMMAND [arguments] [--flags]\n\ncommands:\n",
      kVersion);
  for (const Command& command : commands())
    fmt::print("  {:<17} {}\n", command.name, command_spec(command.name).summary);
  fmt::print("  {:<17} {}\n", "bench", kBenchSummary);
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
  names.push_back("bench");
  const std::string_view near = nearest(name, names);
  fail(ErrorKind::usage, fmt::format("unknown command '{}'{}; tiller --help lists them", name,
                                     near.empty() ? "" : fmt::format("; did you mean {}?", near)));
}

}  // namespace

int run_command(const std::string& name, const std::vector<std::string>& arguments) {
  const Command& command = find_command(name);
  const Flags flags = Flags::parse(command_spec(name), arguments);
  if (flags.help()) {
    fmt::print("{}", help_text(flags.command()));
    return 0;
  }
  if (flags.accepts("threads") && flags.get<int>("threads") > 0)
    set_threads(flags.get<int>("threads"));
  std::optional<ForceRows> forced;
  if (flags.accepts("kernel") && flags.given("kernel"))
    forced.emplace(flags.get<std::string>("kernel"));
  const std::unique_ptr<TracePrinter> printer = trace_printer_from_environment();
  return command.run(flags);
}

namespace {

int dispatch(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    print_help();
    return static_cast<int>(ErrorKind::usage);
  }
  const std::string& first = arguments[0];
  if (first == "--help" || first == "-h" || first == "help") {
    if (first == "help" && arguments.size() > 1) return dispatch({arguments[1], "--help"});
    print_help();
    return 0;
  }
  if (first == "--version") {
    fmt::print("tiller {}\n", kVersion);
    return 0;
  }
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  if (first == "bench") run_bench(rest);
  return run_command(first, rest);
}

constexpr int kBrokenPipe = 128 + SIGPIPE;  // what a shell reports of a program that a pipe ended

// Not fmt::print, which throws when standard error cannot be written to: nobody is left to be told.
void report(const std::string& message) {
  std::fputs(fmt::format("tiller: {}\n", printable(message, true)).c_str(), stderr);
}

// Whoever reads our output may stop (`| head`): nothing failed, and there is nothing to say. A full
// disk behind `> file` is told.
int output_failed(int code, const char* reason) {
  if (errno == EPIPE) return code != 0 ? code : kBrokenPipe;
  report(fmt::format("could not write the output: {}", reason));
  return static_cast<int>(ErrorKind::failed);
}

// What was printed must have arrived.
int flush_output(int code) {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  return output_failed(code, std::strerror(errno));
}

// A program started with a closed standard stream (`2>&-`) would get its number for the first file
// that it opens, and write its messages into that.
void open_standard_streams() {
  for (int descriptor = 0; descriptor <= 2; ++descriptor)
    if (fcntl(descriptor, F_GETFD) == -1 && errno == EBADF) (void)!open("/dev/null", O_RDWR);
}

extern "C" void exit_interrupted(int) { _exit(static_cast<int>(ErrorKind::interrupted)); }

}  // namespace

std::span<const Command> commands() { return kCommands; }

int run_program(const std::vector<std::string>& arguments) {
  open_standard_streams();
  std::signal(SIGPIPE, SIG_IGN);          // a closed pipe shows as a failed write instead
  std::signal(SIGXFSZ, SIG_IGN);          // likewise a file beyond `ulimit -f`
  std::signal(SIGINT, exit_interrupted);  // commands with something to save install their own
  std::signal(SIGTERM, exit_interrupted);
  try {
    return flush_output(dispatch(arguments));
  } catch (const Error& error) {
    std::fflush(stdout);
    report(error.what());
    return error.exit_code();
  } catch (const std::system_error& error) {  // fmt::print throws this, and std::filesystem
    errno = error.code().value();
    if (std::ferror(stdout) != 0) return output_failed(0, std::strerror(errno));
    report(error.what());
    return static_cast<int>(ErrorKind::failed);
  } catch (const std::bad_alloc&) {
    report("out of memory");
    return static_cast<int>(ErrorKind::out_of_memory);
  } catch (const std::exception& error) {
    report(error.what());
    return static_cast<int>(ErrorKind::failed);
  }
}

}  // namespace tiller
