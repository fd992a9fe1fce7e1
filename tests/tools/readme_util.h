#pragma once
// The command lines of guided-diffusion's README, read as a shell reads them.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace tiller::testing {

struct CommandLine {
  std::string script;  // "classifier_sample.py"
  std::vector<std::string> arguments;

  /// The command that does what the script does.
  std::string command() const {
    static const std::map<std::string, std::string> kCommands = {
        {"classifier_sample.py", "sample"},
        {"image_sample.py", "sample"},
        {"super_res_sample.py", "upsample"},
        {"classifier_train.py", "train-classifier"}};
    return kCommands.at(script);
  }
};

// Assignments and command lines, as far as that file needs: NAME="text", $NAME split at blanks, a
// backslash at the end of a line.
inline std::vector<CommandLine> readme() {
  std::ifstream file(TILLER_TEST_DATA "/guided_diffusion_readme.sh");
  EXPECT_TRUE(file.is_open());
  std::map<std::string, std::string> variables;
  std::vector<CommandLine> commands;
  std::string line, part;
  while (std::getline(file, part)) {
    line += part;
    if (line.ends_with('\\')) {
      line.back() = ' ';
      continue;
    }
    const std::string whole = std::exchange(line, {});
    if (whole.empty() || whole.front() == '#') continue;
    if (const std::size_t quote = whole.find("=\""); quote != std::string::npos) {
      variables[whole.substr(0, quote)] = whole.substr(quote + 2, whole.size() - quote - 3);
      continue;
    }
    std::string expanded;
    std::istringstream words(whole);
    for (std::string word; words >> word;)
      expanded += (word.front() == '$' ? variables.at(word.substr(1)) : word) + " ";
    std::istringstream tokens(expanded);
    CommandLine command;
    while (!command.script.ends_with(".py") && tokens >> command.script) {
    }
    command.script = command.script.substr(command.script.rfind('/') + 1);
    for (std::string token; tokens >> token;) command.arguments.push_back(token);
    commands.push_back(std::move(command));
  }
  return commands;
}

}  // namespace tiller::testing
