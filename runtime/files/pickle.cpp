#include "runtime/files/pickle.h"

#include <array>

#include "runtime/files/pickle_machine.h"

namespace tiller {

std::optional<double> PickleValue::number() const {
  if (kind == Kind::real) return real();
  if (kind == Kind::integer || kind == Kind::boolean) return static_cast<double>(payload);
  return std::nullopt;
}

std::optional<PickleValue> Pickle::find(PickleValue dict, std::string_view key) const {
  if (!dict.is(Kind::dict)) return std::nullopt;
  const std::vector<Entry>& all = entries(dict);
  for (auto entry = all.rbegin(); entry != all.rend(); ++entry)
    if (entry->first.is(Kind::text) && text(entry->first) == key) return entry->second;
  return std::nullopt;
}

std::string Pickle::describe(PickleValue value) const {
  switch (value.kind) {
    case Kind::none:
      return "None";
    case Kind::boolean:
      return value.payload ? "True" : "False";
    case Kind::integer:
      return fmt::format("the number {}", value.payload);
    case Kind::real:
      return fmt::format("the number {}", value.real());
    case Kind::text:
      return "a text";
    case Kind::tuple:
      return fmt::format("a tuple of {}", items(value).size());
    case Kind::list:
      return fmt::format("a list of {}", items(value).size());
    case Kind::dict:
      return fmt::format("a dict of {} entries", entries(value).size());
    case Kind::storage:
      return "a bare storage";
    case Kind::tensor:
      return "a single tensor";
    case Kind::global:
    case Kind::object:
      break;
  }
  const Global& type = globals_[value.index()];
  return fmt::format("an object of class {}.{}", type.module.substr(0, 100),
                     type.name.substr(0, 100));
}

Pickle Pickle::read(ByteReader& reader, const std::string& what) {
  return PickleMachine(reader, what).run();
}

}  // namespace tiller
