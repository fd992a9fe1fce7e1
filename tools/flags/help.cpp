#include <fmt/format.h>

#include <algorithm>

#include "tools/flags/spec.h"

namespace tiller {

namespace {

constexpr std::size_t kWidth = 100;  // columns of a line
constexpr std::size_t kIndent = 42;  // where the explanations start

const char* title(FlagGroup group) {
  switch (group) {
    case FlagGroup::model:
      return "Diffusion network";
    case FlagGroup::classifier:
      return "Classifier";
    case FlagGroup::diffusion:
      return "Diffusion process";
    case FlagGroup::sampling:
      return "Sampling";
    case FlagGroup::training:
      return "Data and training";
    case FlagGroup::run:
      return "Run";
  }
  return "";
}

std::string placeholder(const FlagSpec& flag) {
  switch (flag.type) {
    case FlagType::boolean:
      return "BOOL";
    case FlagType::integer:
      return "N";
    case FlagType::real:
      return "X";
    case FlagType::integers:
      return "N,N";
    case FlagType::reals:
      return "X,X";
    case FlagType::text:
      break;
  }
  if (!flag.choices.empty()) return "WORD";
  return flag.value_name.empty() ? "TEXT" : std::string(flag.value_name);
}

// Words of `text` from column kIndent on, behind `left`, in lines of at most kWidth columns.
void append_entry(std::string& out, const std::string& left, std::string_view text) {
  std::string line = "  " + left;
  if (line.size() + 2 > kIndent) {
    out += line + "\n";
    line.clear();
  }
  line.resize(kIndent, ' ');
  bool first = true;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    begin = end + 1;
    if (!first && line.size() + 1 + word.size() > kWidth) {
      out += line + "\n";
      line.assign(kIndent, ' ');
      first = true;
    }
    if (!first) line += ' ';
    line += word;
    first = false;
  }
  out += line + "\n";
}

}  // namespace

std::string help_text(const CommandSpec& command) {
  std::string out = fmt::format("Usage: tiller {}", command.name);
  for (const ArgumentSpec& argument : command.arguments) {
    const std::string words = fmt::format("{}{}", argument.name, argument.many ? " ..." : "");
    out += argument.required ? " " + words : " [" + words + "]";
  }
  out +=
      fmt::format(" [flags]{}\n\n{}\n", command.wraps ? " [-- COMMAND ...]" : "", command.summary);
  if (!command.arguments.empty()) out += "\nArguments:\n";
  for (const ArgumentSpec& argument : command.arguments)
    append_entry(out, std::string(argument.name), argument.help);
  for (const FlagGroup group : {FlagGroup::model, FlagGroup::classifier, FlagGroup::diffusion,
                                FlagGroup::sampling, FlagGroup::training, FlagGroup::run}) {
    bool any = false;
    for (const FlagSpec& flag : flag_table()) {  // in the table's order, which is made for reading
      if (flag.group != group ||
          std::find(command.flags.begin(), command.flags.end(), flag.name) == command.flags.end())
        continue;
      if (!any) out += fmt::format("\n{}:\n", title(group));
      any = true;
      std::string text(flag.help);
      if (!flag.choices.empty()) {
        std::string choices(flag.choices);
        for (std::size_t at = 0; (at = choices.find('|', at)) != std::string::npos; at += 2)
          choices.replace(at, 1, ", ");
        text += ": " + choices;
      }
      const std::string_view value = fallback(command, flag);
      if (!value.empty()) text += fmt::format(" [{}]", value);
      append_entry(out, fmt::format("--{} {}", flag.name, placeholder(flag)), text);
    }
  }
  out +=
      "\n  --help                                  Print this.\n"
      "\nDefaults stand in brackets. --image_size 64, --image-size 64 and --image_size=64 are the "
      "same;\n"
      "BOOL is yes, true, t, y, 1 or no, false, f, n, 0, and may be left out for yes; the last of "
      "a\n"
      "repeated flag counts. What a checkpoint tells about its network need not be given.\n";
  return out;
}

}  // namespace tiller
