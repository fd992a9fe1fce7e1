// Own code rather than CLI11: bare booleans in front of a value, "" and -1 as values, dashes for
// underscores, repeated flags and the nearest name must all be settled before CLI11 sees the line,
// and what it would add after that (storing strings) is shorter than its set-up.
#include "tools/flags/flags.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>

namespace tiller {

namespace {

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::optional<bool> parse_bool(const std::string& text) {  // guided-diffusion's str2bool
  const std::string word = lower(text);
  for (const char* yes : {"yes", "true", "t", "y", "1"})
    if (word == yes) return true;
  for (const char* no : {"no", "false", "f", "n", "0"})
    if (word == no) return false;
  return std::nullopt;
}

std::string_view stripped(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

template <class T>
std::optional<T> parse_number(std::string_view text) {
  text = stripped(text);
  if (text.size() > 1 && text.front() == '+' && text[1] != '-') text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if constexpr (std::floating_point<T>)
    if (!std::isfinite(value)) return std::nullopt;
  return value;
}

bool in_range(const FlagSpec& spec, double value) {
  return (value >= spec.low && value <= spec.high) || (spec.or_minus_one && value == -1);
}

// "an integer of at least 1, or -1": what a bad value's message says is allowed.
std::string allowed(const FlagSpec& spec) {
  if (spec.type == FlagType::boolean) return "yes, true, t, y, 1 or no, false, f, n, 0";
  if (!spec.choices.empty()) {
    std::string words(spec.choices);
    for (std::size_t at = 0; (at = words.find('|', at)) != std::string::npos; at += 2)
      words.replace(at, 1, ", ");
    return "one of " + words;
  }
  const bool whole = spec.type == FlagType::integer || spec.type == FlagType::integers;
  const bool many = spec.type == FlagType::integers || spec.type == FlagType::reals;
  std::string text = many ? (whole ? "integers with commas between" : "numbers with commas between")
                          : (whole ? "an integer" : "a number");
  if (std::isfinite(spec.low) && std::isfinite(spec.high))
    text += fmt::format(" from {:g} to {:g}", spec.low, spec.high);
  else if (std::isfinite(spec.low))
    text += fmt::format("{} at least {:g}", many ? ", each" : " of", spec.low);
  return spec.or_minus_one ? text + ", or -1" : text;
}

template <class... Args>
[[noreturn]] void usage_error(fmt::format_string<Args...> text, Args&&... args) {
  fail(ErrorKind::usage, fmt::format(text, std::forward<Args>(args)...));
}

[[noreturn]] void bad_value(const FlagSpec& spec, const std::string& text) {
  usage_error("--{}: '{}' is not allowed; it takes {}", spec.name, text, allowed(spec));
}

template <class T>
std::vector<T> parse_list(const FlagSpec& spec, const std::string& text) {
  std::vector<T> items;
  if (stripped(text).empty()) return items;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const auto item = parse_number<T>(std::string_view(text).substr(begin, end - begin));
    if (!item || !in_range(spec, static_cast<double>(*item))) bad_value(spec, text);
    items.push_back(*item);
    begin = end + 1;
  }
  return items;
}

// What a flag without its value lacks.
std::string wanted(const FlagSpec& spec) {
  const bool any_text = spec.type == FlagType::text && spec.choices.empty();
  return any_text ? std::string(spec.help) : allowed(spec);
}

}  // namespace

Flags::Content Flags::read(const FlagSpec& spec, const std::string& text) {
  const auto checked = [&](auto number) {
    if (!number || !in_range(spec, static_cast<double>(*number))) bad_value(spec, text);
    return *number;
  };
  switch (spec.type) {
    case FlagType::boolean: {
      const std::optional<bool> value = parse_bool(text);
      if (!value) bad_value(spec, text);
      return *value;
    }
    case FlagType::integer:
      return checked(parse_number<std::int64_t>(text));
    case FlagType::real:
      return checked(parse_number<double>(text));
    case FlagType::integers:
      return parse_list<std::int64_t>(spec, text);
    case FlagType::reals:
      return parse_list<double>(spec, text);
    case FlagType::text:
      break;
  }
  const std::string wrapped = fmt::format("|{}|", spec.choices);
  if (!spec.choices.empty() && (text.find('|') != std::string::npos ||
                                wrapped.find(fmt::format("|{}|", text)) == std::string::npos))
    bad_value(spec, text);
  return text;
}

std::string_view Flags::resolve(std::string_view typed) const {
  std::string name(typed);
  std::replace(name.begin(), name.end(), '-', '_');
  if (const auto found = values_.find(name); found != values_.end()) return found->first;
  std::string others;
  for (const CommandSpec& other : command_specs())
    if (std::find(other.flags.begin(), other.flags.end(), name) != other.flags.end())
      others += fmt::format("{}{}", others.empty() ? "" : ", ", other.name);
  const std::string_view near = nearest(name, command_->flags);
  usage_error("{}: unknown flag --{}{}{}; tiller {} --help lists all", command_->name, typed,
              others.empty() ? "" : fmt::format(" (a flag of {})", others),
              near.empty() ? "" : fmt::format("; did you mean --{}?", near), command_->name);
}

void Flags::set(const FlagSpec& spec, const std::string& text) {
  Value& value = values_.find(spec.name)->second;
  value.content = read(spec, text);
  value.given = true;
}

Flags Flags::parse(const CommandSpec& command, const std::vector<std::string>& arguments) {
  Flags flags;
  flags.command_ = &command;
  for (const std::string_view name : command.flags) {
    const FlagSpec* spec = find_flag(name);
    TILLER_CHECK(spec != nullptr, "flags: {} lists --{}, which the table lacks", command.name,
                 name);
    flags.values_.emplace(name,
                          Value{spec, read(*spec, std::string(fallback(command, *spec))), false});
  }
  bool only_arguments = false;  // behind "--"
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& token = arguments[i];
    if (only_arguments || token == "-" || !token.starts_with('-')) {
      if (!flags.takes_another_argument())
        usage_error("{}: unexpected argument '{}'; tiller {} --help shows the usage", command.name,
                    token, command.name);
      flags.arguments_.push_back(token);
      continue;
    }
    if (token == "--") {
      if (command.wraps) {
        flags.rest_.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
        break;
      }
      only_arguments = true;
      continue;
    }
    if (token == "--help" || token == "-h") {
      flags.help_ = true;
      return flags;
    }
    if (!token.starts_with("--"))
      usage_error("{}: '{}' is no flag; flags have two dashes: --image_size 64", command.name,
                  token);
    const std::size_t equals = token.find('=');
    const std::string_view name =
        flags.resolve(std::string_view(token).substr(2, std::min(equals, token.size()) - 2));
    const FlagSpec& spec = *flags.values_.find(name)->second.spec;
    // Values such as -1 and - have one dash at most.
    const bool follows = i + 1 < arguments.size() && !arguments[i + 1].starts_with("--");
    if (equals != std::string::npos) {
      flags.set(spec, token.substr(equals + 1));
    } else if (spec.type == FlagType::boolean) {
      // A word that is no boolean is left to be an argument, where one is still expected.
      const bool bare =
          !follows || (!parse_bool(arguments[i + 1]) && flags.takes_another_argument());
      flags.set(spec, bare ? "true" : arguments[++i]);
    } else {
      if (!follows) usage_error("--{} needs a value: {}", spec.name, wanted(spec));
      flags.set(spec, arguments[++i]);
    }
  }
  for (std::size_t i = flags.arguments_.size(); i < command.arguments.size(); ++i)
    if (command.arguments[i].required)
      usage_error("{}: {} is missing: {}", command.name, command.arguments[i].name,
                  command.arguments[i].help);
  flags.arguments_.resize(std::max(flags.arguments_.size(), command.arguments.size()));
  return flags;
}

const Flags::Value& Flags::value(std::string_view name) const {
  const auto found = values_.find(name);
  TILLER_CHECK(found != values_.end(), "flags: {} takes no --{}",
               command_ ? command_->name : "nothing", name);
  return found->second;
}

std::string Flags::text(std::string_view name) const {
  struct Writer {
    std::string operator()(bool v) const { return v ? "True" : "False"; }
    std::string operator()(std::int64_t v) const { return fmt::format("{}", v); }
    std::string operator()(double v) const { return fmt::format("{}", v); }
    std::string operator()(const std::string& v) const { return v; }
    std::string operator()(const std::vector<std::int64_t>& v) const {
      return fmt::format("{}", fmt::join(v, ","));
    }
    std::string operator()(const std::vector<double>& v) const {
      return fmt::format("{}", fmt::join(v, ","));
    }
  };
  return std::visit(Writer{}, value(name).content);
}

std::map<std::string, std::string> Flags::texts() const {
  std::map<std::string, std::string> all;
  for (const auto& [name, value] : values_) all[name] = text(name);
  return all;
}

std::map<std::string, std::string> Flags::given_texts(
    std::span<const std::string_view> names) const {
  std::map<std::string, std::string> all;
  for (const std::string_view name : names)
    if (accepts(name) && given(name)) all[std::string(name)] = text(name);
  return all;
}

bool Flags::takes_another_argument() const {
  const std::vector<ArgumentSpec>& specs = command_->arguments;
  return arguments_.size() < specs.size() || (!specs.empty() && specs.back().many);
}

std::size_t Flags::argument_index(std::string_view name) const {
  for (std::size_t i = 0; i < command_->arguments.size(); ++i)
    if (command_->arguments[i].name == name) return i;
  fail(ErrorKind::failed, fmt::format("flags: {} takes no argument {}", command_->name, name));
}

const std::string& Flags::argument(std::string_view name) const {
  return arguments_[argument_index(name)];
}

std::vector<std::string> Flags::arguments(std::string_view name) const {
  const std::size_t first = argument_index(name);
  return {arguments_.begin() + static_cast<std::ptrdiff_t>(first),
          command_->arguments[first].many
              ? arguments_.end()
              : arguments_.begin() + static_cast<std::ptrdiff_t>(first) + 1};
}

}  // namespace tiller
