#include "tools/sampling/classes.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "runtime/error.h"
#include "runtime/random.h"
#include "tools/flags/spec.h"

namespace tiller {

namespace {

std::int64_t parse_class(const std::string& word, std::int64_t num_classes,
                         const std::vector<std::string>& names) {
  std::int64_t number = -1;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error == std::errc() && end == word.data() + word.size()) {
    if (number >= 0 && number < num_classes) return number;
    fail(ErrorKind::usage, fmt::format("--classes: there is no class {}; the classes are 0 to {}",
                                       word, num_classes - 1));
  }
  const auto found = std::find(names.begin(), names.end(), word);
  if (found != names.end()) return found - names.begin();
  if (names.empty())
    fail(ErrorKind::usage,
         fmt::format("--classes: '{}' is no number, and the checkpoints name no classes; use "
                     "random, all, or numbers from 0 to {}",
                     word, num_classes - 1));
  const std::string_view near =
      nearest(word, std::vector<std::string_view>(names.begin(), names.end()));
  fail(ErrorKind::usage,
       fmt::format("--classes: there is no class '{}'{}", word,
                   near.empty() ? fmt::format("; the first of {} is '{}'", names.size(), names[0])
                                : fmt::format("; did you mean '{}'?", near)));
}

}  // namespace

ClassChoice ClassChoice::parse(const std::string& text, std::int64_t num_classes,
                               const std::vector<std::string>& names) {
  ClassChoice choice;
  choice.num_classes_ = num_classes;
  if (text == "random") return choice;
  if (text == "all") {
    choice.cycle_.resize(static_cast<std::size_t>(num_classes));
    std::iota(choice.cycle_.begin(), choice.cycle_.end(), 0);
    return choice;
  }
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    std::string word = text.substr(begin, end - begin);
    word.erase(0, word.find_first_not_of(' '));
    word.erase(word.find_last_not_of(' ') + 1);
    choice.cycle_.push_back(parse_class(word, num_classes, names));
    begin = end + 1;
  }
  return choice;
}

std::int64_t ClassChoice::label(std::int64_t index, std::uint64_t seed) const {
  if (!cycle_.empty()) return cycle_[static_cast<std::size_t>(index) % cycle_.size()];
  std::int64_t drawn = 0;
  philox_integers(
      {.seed = seed, .sample = static_cast<std::uint32_t>(index), .stream = RandomStream::classes},
      1, static_cast<std::uint32_t>(num_classes_), &drawn);
  return drawn;
}

}  // namespace tiller
