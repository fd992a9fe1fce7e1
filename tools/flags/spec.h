#pragma once
// What flags and commands there are, as data. One table serves every command, its parser and its
// help.
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tiller {

/// How a flag's value is read. Lists are written with commas: "32,16,8"; "" is the empty list.
enum class FlagType : std::uint8_t { boolean, integer, real, text, integers, reals };

/// Under which heading the help shows a flag.
enum class FlagGroup : std::uint8_t { model, classifier, diffusion, sampling, training, run };

/// One flag. Names are guided-diffusion's own where it has one, with underscores.
struct FlagSpec {
  std::string_view name;
  FlagType type = FlagType::text;
  std::string_view fallback = {};  ///< the default, as one would type it
  FlagGroup group = FlagGroup::run;
  std::string_view help = {};
  std::string_view choices = {};  ///< the allowed texts: "linear|cosine"; empty when any will do
  double low = -std::numeric_limits<double>::infinity();  ///< bounds of a number or a list's items
  double high = std::numeric_limits<double>::infinity();
  bool or_minus_one = false;         ///< -1 is allowed below `low`
  std::string_view value_name = {};  ///< what the help calls a text's value: "FILE"
};

/// An argument without a flag: `tiller convert IN OUT`.
struct ArgumentSpec {
  std::string_view name;  ///< as the help shows it: "FILE"
  std::string_view help;
  bool required = true;  ///< optional ones stand behind the required
  bool many = false;     ///< the last one may be given more than once
};

/// What a command takes.
struct CommandSpec {
  std::string_view name;
  std::string_view summary;  ///< one sentence
  std::vector<ArgumentSpec> arguments = {};
  std::vector<std::string_view> flags = {};  ///< names in the flag table
  /// Defaults that differ from the table's: guided-diffusion's scripts disagree on batch_size and
  /// lr.
  std::vector<std::pair<std::string_view, std::string_view>> fallbacks = {};
  /// Whether another command's line may follow behind "--": `tiller profile -- sample ...`.
  bool wraps = false;
};

/// Every flag there is.
std::span<const FlagSpec> flag_table();
/// Null when no command has a flag of that name (with underscores).
const FlagSpec* find_flag(std::string_view name);
/// `flag`'s default within `command`.
std::string_view fallback(const CommandSpec& command, const FlagSpec& flag);

/// What the commands take: a superset of what the program offers, since a command's flags are
/// settled (and OpenAI's command lines tested) before it is built.
std::span<const CommandSpec> command_specs();
/// Throws Error(usage), naming the nearest command.
const CommandSpec& command_spec(std::string_view name);

/// The flags that describe a network: those of create_model, sr_create_model and create_classifier,
/// with Tiller's own.
std::span<const std::string_view> network_flags();

/// The candidate that is most like `name`, by edits (insert, delete, replace, swap); "" when none
/// is near enough to be meant.
std::string_view nearest(std::string_view name, std::span<const std::string_view> candidates);

/// `tiller COMMAND --help`: usage, arguments, the flags by group with their defaults, in lines of
/// at most 100 columns.
std::string help_text(const CommandSpec& command);

}  // namespace tiller
