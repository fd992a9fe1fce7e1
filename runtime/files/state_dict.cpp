#include "runtime/files/state_dict.h"

#include <algorithm>
#include <array>
#include <unordered_map>

namespace tiller {

namespace {

using Kind = PickleValue::Kind;

constexpr int kDepth = 4;  // wrappers in wrappers
// Names that training programs give to the weights, the likeliest first.
constexpr std::array<std::string_view, 10> kWrappers{{"model", "state_dict", "model_state_dict",
                                                      "ema", "params", "params_ema", "module",
                                                      "net", "network", "weights"}};
// Prefixes that wrappers of modules leave: DataParallel and torch.compile.
constexpr std::array<std::string_view, 2> kPrefixes{{"module.", "_orig_mod."}};

bool holds_tensors(const Pickle& pickle, PickleValue value) {
  if (!value.is(Kind::dict)) return false;
  const auto& entries = pickle.entries(value);
  return std::any_of(entries.begin(), entries.end(), [](const Pickle::Entry& entry) {
    return entry.second.is(Kind::tensor) && entry.first.is(Kind::text);
  });
}

// A dict that is, or wraps, a state dict.
bool leads_to_tensors(const Pickle& pickle, PickleValue value, int depth) {
  if (holds_tensors(pickle, value)) return true;
  if (depth == 0) return false;
  return std::any_of(kWrappers.begin(), kWrappers.end(), [&](std::string_view key) {
    const auto inner = pickle.find(value, key);
    return inner && leads_to_tensors(pickle, *inner, depth - 1);
  });
}

void note_extras(const Pickle& pickle, PickleValue dict, StateDict& found) {
  for (const Pickle::Entry& entry : pickle.entries(dict)) {
    if (!entry.first.is(Kind::text)) continue;
    std::string& text = found.extras[std::string(pickle.text(entry.first))];
    const PickleValue value = entry.second;
    if (value.is(Kind::text)) {
      text = pickle.text(value);
    } else if (value.is(Kind::integer)) {
      text = fmt::format("{}", value.payload);
    } else if (value.is(Kind::real)) {
      text = fmt::format("{}", value.real());
    } else if (value.is(Kind::boolean)) {
      text = value.payload ? "true" : "false";
    } else {
      found.extras.erase(std::string(pickle.text(entry.first)));
    }
  }
}

// The entry of a wrapper that holds the weights, or nothing.
std::optional<Pickle::Entry> unwrap(const Pickle& pickle, PickleValue dict, int depth) {
  for (const std::string_view key : kWrappers) {
    for (const Pickle::Entry& entry : pickle.entries(dict))
      if (entry.first.is(Kind::text) && pickle.text(entry.first) == key &&
          leads_to_tensors(pickle, entry.second, depth))
        return entry;
  }
  std::optional<Pickle::Entry> only;  // an unknown name will do if there is no choice
  for (const Pickle::Entry& entry : pickle.entries(dict)) {
    if (!entry.first.is(Kind::text) || !holds_tensors(pickle, entry.second)) continue;
    if (only) return std::nullopt;
    only = entry;
  }
  return only;
}

[[noreturn]] void no_state_dict(const Pickle& pickle, PickleValue value, const std::string& path) {
  if (value.is(Kind::object) || value.is(Kind::global))
    fail(ErrorKind::checkpoint,
         fmt::format(
             "{} holds {}: a network saved whole, with its program, which is not executed here. In "
             "PyTorch: torch.save(network.state_dict(), \"weights.pt\")",
             path, pickle.describe(value)));
  std::string keys;
  if (value.is(Kind::dict)) {
    int shown = 0;
    for (const Pickle::Entry& entry : pickle.entries(value))
      if (entry.first.is(Kind::text) && shown++ < 8)
        keys += fmt::format("{}\"{}\"", keys.empty() ? "; its keys: " : ", ",
                            pickle.text(entry.first).substr(0, 60));
  }
  fail(ErrorKind::checkpoint, fmt::format("{} holds {}, not a state dict of weights{}", path,
                                          pickle.describe(value), keys));
}

void strip_prefixes(StateDict& found) {
  for (bool again = true; again && !found.tensors.empty();) {
    again = false;
    for (const std::string_view prefix : kPrefixes) {
      const bool all =
          std::all_of(found.tensors.begin(), found.tensors.end(), [&](const auto& tensor) {
            return tensor.first.starts_with(prefix) && tensor.first.size() > prefix.size();
          });
      if (!all) continue;
      for (auto& tensor : found.tensors) tensor.first.erase(0, prefix.size());
      found.stripped += fmt::format("{}{}", found.stripped.empty() ? "" : ", ", prefix);
      again = true;
      break;
    }
  }
}

}  // namespace

StateDict find_state_dict(const Pickle& pickle, const std::string& path) {
  StateDict found;
  PickleValue value = pickle.root();
  if (!value.is(Kind::dict)) no_state_dict(pickle, value, path);
  const auto state = pickle.find(value, "state");
  const auto groups = pickle.find(value, "param_groups");
  if (state && groups && state->is(Kind::dict) && groups->is(Kind::list)) {
    found.content = FileContent::optimizer;
    return found;
  }
  for (int depth = kDepth; !holds_tensors(pickle, value); --depth) {
    if (pickle.entries(value).empty() && depth == kDepth)
      return found;  // a network without weights
    const std::optional<Pickle::Entry> inner = depth ? unwrap(pickle, value, depth) : std::nullopt;
    if (!inner) no_state_dict(pickle, value, path);
    note_extras(pickle, value, found);
    found.extras.erase(std::string(pickle.text(inner->first)));
    found.stripped +=
        fmt::format("{}{}", found.stripped.empty() ? "" : ", ", pickle.text(inner->first));
    value = inner->second;
  }
  note_extras(pickle, value, found);
  std::unordered_map<std::string_view, std::size_t> places;
  for (const Pickle::Entry& entry : pickle.entries(value)) {
    if (!entry.first.is(Kind::text) || !entry.second.is(Kind::tensor)) continue;
    const std::string_view name = pickle.text(entry.first);
    const auto [place, fresh] = places.emplace(name, found.tensors.size());
    if (fresh) {
      found.tensors.emplace_back(name, entry.second);
    } else {
      found.tensors[place->second].second = entry.second;  // as in Python: the later counts
    }
  }
  strip_prefixes(found);
  return found;
}

}  // namespace tiller
