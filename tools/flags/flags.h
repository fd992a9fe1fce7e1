#pragma once
// The command line of every command: guided-diffusion's syntax (argparse with its str2bool), and
// dashes for underscores, `--flag=value` and bare booleans on top.
#include <concepts>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runtime/error.h"
#include "tools/flags/spec.h"

namespace tiller {

/// The parsed flags and arguments of one command.
class Flags {
 public:
  /// Reads `arguments`, which start behind the command's name. The last of a repeated flag counts.
  /// Throws Error(usage) that names the flag, the value and what is allowed. `command` must outlive
  /// the result.
  static Flags parse(const CommandSpec& command, const std::vector<std::string>& arguments);

  const CommandSpec& command() const { return *command_; }
  /// Whether --help or -h was among the arguments; nothing else was read then.
  bool help() const { return help_; }

  /// Whether this command takes the flag at all.
  bool accepts(std::string_view name) const { return values_.contains(name); }
  /// Whether the user typed the flag: a given flag wins over what a checkpoint tells.
  bool given(std::string_view name) const { return value(name).given; }
  /// The value, or the command's default. T is bool, an integer type, a floating-point type or
  /// std::string, as the flag's type. Asking for a flag that the command does not take, or as
  /// another type, is a mistake in the program: Error(failed).
  template <class T>
  T get(std::string_view name) const;
  /// The values of a list flag; T is an integer or floating-point type.
  template <class T>
  std::vector<T> list(std::string_view name) const;
  /// The value as guided-diffusion would write it: "True", "64", "32,16,8".
  std::string text(std::string_view name) const;
  /// All flags with their values, by name: a run's configuration, for metadata.
  std::map<std::string, std::string> texts() const;
  /// The given flags among `names`, which need not all be the command's.
  std::map<std::string, std::string> given_texts(std::span<const std::string_view> names) const;

  /// What stood behind "--", for a command that wraps another.
  const std::vector<std::string>& rest() const { return rest_; }

  /// An argument by its name in the specification ("FILE"); "" for an optional one that is missing.
  const std::string& argument(std::string_view name) const;
  /// All that was given for an argument that may be given more than once.
  std::vector<std::string> arguments(std::string_view name) const;

 private:
  using Content = std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>,
                               std::vector<double>>;
  struct Value {
    const FlagSpec* spec = nullptr;
    Content content;
    bool given = false;
  };

  const Value& value(std::string_view name) const;
  template <class T>
  const T& content(std::string_view name) const {
    const T* content = std::get_if<T>(&value(name).content);
    TILLER_CHECK(content != nullptr, "flags: --{} is read as another type than it has", name);
    return *content;
  }
  template <class T>
  static T narrow(std::string_view name, std::int64_t value) {
    TILLER_CHECK(std::in_range<T>(value), "flags: --{} {} does not fit", name, value);
    return static_cast<T>(value);
  }
  std::string_view resolve(std::string_view typed) const;
  bool takes_another_argument() const;
  std::size_t argument_index(std::string_view name) const;
  void set(const FlagSpec& spec, const std::string& text);
  static Content read(const FlagSpec& spec, const std::string& text);

  const CommandSpec* command_ = nullptr;
  bool help_ = false;
  std::map<std::string, Value, std::less<>> values_;
  std::vector<std::string> arguments_, rest_;
};

template <class T>
T Flags::get(std::string_view name) const {
  if constexpr (std::same_as<T, bool> || std::same_as<T, std::string>) {
    return content<T>(name);
  } else if constexpr (std::integral<T>) {
    return narrow<T>(name, content<std::int64_t>(name));
  } else {
    static_assert(std::floating_point<T>);
    return static_cast<T>(content<double>(name));
  }
}

template <class T>
std::vector<T> Flags::list(std::string_view name) const {
  std::vector<T> out;
  if constexpr (std::integral<T>) {
    for (const std::int64_t item : content<std::vector<std::int64_t>>(name))
      out.push_back(narrow<T>(name, item));
  } else {
    static_assert(std::floating_point<T>);
    for (const double item : content<std::vector<double>>(name))
      out.push_back(static_cast<T>(item));
  }
  return out;
}

}  // namespace tiller
