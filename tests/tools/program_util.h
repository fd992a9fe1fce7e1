#pragma once
// Runs the real program as a user's shell would, and holds what it said.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/files/checkpoint.h"
#include "tests/runtime/files_util.h"

namespace tiller::testing {

/// How one run of the program ended.
struct Ended {
  int code = -1;  ///< exit code; 128 + n when signal n ended it, as a shell says
  std::string out, err;
  nlohmann::json json() const { return nlohmann::json::parse(out); }
};

/// What differs from a plain run.
struct Setting {
  std::string out = {};          ///< where standard output goes, instead of being read
  std::string err = {};          ///< likewise
  bool close_err = false;        ///< `2>&-`
  bool closed_pipe = false;      ///< standard output is a pipe that nobody reads
  std::size_t file_limit = 0;    ///< bytes that a file may have; 0: any
  std::size_t memory_limit = 0;  ///< bytes of address space; 0: any
  bool interrupt = false;        ///< Ctrl-C when the first byte comes out
};

inline void redirect(int descriptor, const std::string& path) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (file < 0 || dup2(file, descriptor) < 0) _exit(126);
  close(file);
}

[[noreturn]] inline void become_program(const std::vector<std::string>& arguments,
                                        const Setting& setting, int pipe_end,
                                        const std::string& err_path) {
  std::vector<char*> argv;
  std::string program = TILLER_PROGRAM;
  argv.push_back(program.data());
  std::vector<std::string> copies = arguments;
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (setting.out.empty()) {
    if (dup2(pipe_end, STDOUT_FILENO) < 0) _exit(126);
  } else {
    redirect(STDOUT_FILENO, setting.out);
  }
  close(pipe_end);
  redirect(STDERR_FILENO, setting.err.empty() ? err_path : setting.err);
  if (setting.close_err) close(STDERR_FILENO);
  const auto limit = [](auto resource, std::size_t bytes) {
    const rlimit value{bytes, bytes};
    if (bytes > 0 && setrlimit(resource, &value) != 0) _exit(126);
  };
  limit(RLIMIT_FSIZE, setting.file_limit);
  limit(RLIMIT_AS, setting.memory_limit);
  // Networks of this size are no work for many threads, which on a busy machine wait for each other.
  setenv("TILLER_THREADS", "1", 0);
  std::signal(SIGINT, SIG_DFL);  // whatever runs the tests may ignore these
  std::signal(SIGPIPE, SIG_DFL);
  execv(program.c_str(), argv.data());
  _exit(127);
}

/// Runs `tiller arguments...` and waits for its end.
inline Ended tiller_run(const std::vector<std::string>& arguments, const Setting& setting = {}) {
  const TemporaryFolder folder;
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) become_program(arguments, setting, ends[1], folder / "err");
  close(ends[1]);
  Ended ended;
  if (!setting.closed_pipe) {
    char buffer[4096];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
      if (setting.interrupt && ended.out.empty()) kill(child, SIGINT);
      ended.out.append(buffer, static_cast<std::size_t>(n));
    }
  }
  close(ends[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (setting.err.empty()) {
    const Bytes err = read_bytes(folder / "err");
    ended.err.assign(err.begin(), err.end());
  }
  return ended;
}

/// Runs the program, expects this exit code, and shows what it said if it is another.
inline Ended tiller_expect(int code, const std::vector<std::string>& arguments,
                           const Setting& setting = {}) {
  Ended ended = tiller_run(arguments, setting);
  EXPECT_EQ(ended.code, code) << ::testing::PrintToString(arguments) << "\n"
                              << ended.out << ended.err;
  return ended;
}

/// All tensors of a checkpoint, to be changed and written again.
inline std::vector<NamedTensor> all_tensors(const Checkpoint& file) {
  std::vector<NamedTensor> tensors;
  for (const FileTensor& tensor : file.tensors())
    tensors.push_back({tensor.name, file.read(tensor).clone()});
  return tensors;
}

/// One of them.
inline Tensor& tensor_named(std::vector<NamedTensor>& tensors, const std::string& name) {
  for (NamedTensor& entry : tensors)
    if (entry.name == name) return entry.tensor;
  ADD_FAILURE() << "no tensor " << name;
  return tensors.at(0).tensor;
}

}  // namespace tiller::testing
