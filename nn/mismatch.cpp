#include "nn/mismatch.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "nn/anatomy.h"
#include "runtime/error.h"
#include "runtime/shape.h"

namespace tiller {

namespace {
constexpr std::size_t kShown = 4;  // of a list of names; the rest is counted

// Levenshtein's edit distance, given up beyond `limit`.
std::size_t distance(const std::string& a, const std::string& b, std::size_t limit) {
  if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) > limit) return limit + 1;
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replace = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replace, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::string text_of(const NamedShape& tensor) {
  return fmt::format("{} {}", tensor.name, to_string(std::span<const std::int64_t>(tensor.shape)));
}

// "a [3], b [4] and 17 more", with the nearest of `others` beside each name.
std::string shorten(const std::vector<NamedShape>& list, const std::vector<std::string>& others,
                    const char* beside) {
  std::string text;
  for (std::size_t i = 0; i < std::min(list.size(), kShown); ++i) {
    text += (i ? ", " : "") + text_of(list[i]);
    const std::string near = nearest_name(list[i].name, others);
    if (!near.empty()) text += fmt::format(" ({} {})", beside, near);
  }
  if (list.size() > kShown) text += fmt::format(" and {} more", list.size() - kShown);
  return text;
}

std::vector<std::string> names_of(const std::vector<NamedShape>& list) {
  std::vector<std::string> names;
  for (const NamedShape& tensor : list) names.push_back(tensor.name);
  return names;
}

// Both read by the same eyes, so that the flags in which they differ can be named.
std::string explaining_flags(const std::vector<NamedShape>& network,
                             const std::vector<NamedShape>& file) {
  try {
    const Anatomy ours = read_anatomy(network);
    Anatomy theirs;
    try {
      theirs = read_anatomy(file);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::usage) throw;
      theirs = read_anatomy(file, ours.num_res_blocks);
    }
    const std::vector<std::string> flags = flag_differences(ours, theirs);
    if (flags.empty()) return {};
    std::string text = "\n  flags that would explain it:";
    for (const std::string& flag : flags) text += "\n    " + flag;
    return text;
  } catch (const Error& error) {
    return fmt::format("\n  {}", error.what());
  }
}
}  // namespace

std::string nearest_name(const std::string& name, const std::vector<std::string>& names) {
  std::size_t best = name.size() / 4;  // farther than this is no resemblance
  std::string nearest;
  for (const std::string& other : names) {
    const std::size_t d = distance(name, other, best);
    if (d > best || (d == best && !nearest.empty())) continue;
    best = d;
    nearest = other;
  }
  return nearest;
}

std::string explain_mismatch(const std::vector<NamedShape>& network,
                             const std::vector<NamedShape>& file) {
  std::map<std::string, const NamedShape*> in_file;
  for (const NamedShape& tensor : file) in_file[tensor.name] = &tensor;
  std::set<std::string> wanted;
  std::vector<NamedShape> missing, unexpected, shaped;
  std::string shapes;
  for (const NamedShape& parameter : network) {
    wanted.insert(parameter.name);
    const auto found = in_file.find(parameter.name);
    if (found == in_file.end()) {
      missing.push_back(parameter);
    } else if (found->second->shape != parameter.shape) {
      shaped.push_back(parameter);
      if (shaped.size() <= kShown)
        shapes +=
            fmt::format("{}{} (the file has {})", shapes.empty() ? "" : ", ", text_of(parameter),
                        to_string(std::span<const std::int64_t>(found->second->shape)));
    }
  }
  for (const NamedShape& tensor : file)
    if (!wanted.contains(tensor.name)) unexpected.push_back(tensor);
  if (missing.empty() && unexpected.empty() && shaped.empty()) return {};
  if (shaped.size() > kShown) shapes += fmt::format(" and {} more", shaped.size() - kShown);

  std::string text = fmt::format(
      "the checkpoint does not fit the network ({} tensors in the file, {} in "
      "the network)",
      file.size(), network.size());
  if (!missing.empty())
    text += fmt::format("\n  {} missing from the file: {}", missing.size(),
                        shorten(missing, names_of(unexpected), "the file has"));
  if (!unexpected.empty())
    text += fmt::format("\n  {} that the network has no place for: {}", unexpected.size(),
                        shorten(unexpected, names_of(missing), "the network has"));
  if (!shaped.empty()) text += fmt::format("\n  {} of another shape: {}", shaped.size(), shapes);
  return text + explaining_flags(network, file);
}

}  // namespace tiller
