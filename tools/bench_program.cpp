#include "tools/bench_program.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "runtime/error.h"

namespace tiller {

void run_bench(const std::vector<std::string>& arguments) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const std::string program = (self.parent_path() / "tiller_bench").string();
  std::vector<std::string> words = {"tiller bench"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  fail(ErrorKind::failed,
       fmt::format("tiller bench is the program tiller_bench beside this one, and {}: {}; build it "
                   "(cmake --build --preset release --target tiller_bench)",
                   program, std::strerror(errno)));
}

}  // namespace tiller
