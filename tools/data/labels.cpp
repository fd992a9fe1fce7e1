#include "tools/data/labels.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "tools/report/printable.h"

namespace tiller {

namespace {

using Texts = std::vector<std::string>;
using MaybeText = std::optional<std::string>;

// "cat/more/1.jpg" -> "cat".
MaybeText folder_of(const std::string& path) {
  const std::size_t slash = path.find('/');
  return slash == std::string::npos ? std::nullopt : MaybeText(path.substr(0, slash));
}

// "more/cat_1.jpg" -> "cat". A name that starts with an underscore has nothing before it.
MaybeText prefix_of(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);  // npos + 1 is 0
  const std::size_t underscore = name.find('_');
  if (underscore == 0 || underscore == std::string::npos) return std::nullopt;
  return name.substr(0, underscore);
}

std::string listed(const Texts& names, std::size_t most) {
  const std::size_t shown = std::min(names.size(), most);
  return printable(fmt::format(
      "{}{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
      shown < names.size() ? ", ..." : ""));
}

std::size_t first_told(const std::vector<MaybeText>& classes) {
  const auto told = [](const MaybeText& name) { return name.has_value(); };
  return static_cast<std::size_t>(std::find_if(classes.begin(), classes.end(), told) -
                                  classes.begin());
}

Labelling number(const std::vector<MaybeText>& classes, std::string source) {
  std::map<std::string, std::int64_t> numbers;
  for (const MaybeText& name : classes) numbers[*name] = 0;
  Labelling out;
  out.source = std::move(source);
  for (auto& [name, index] : numbers) {
    index = static_cast<std::int64_t>(out.class_names.size());
    out.class_names.push_back(name);
  }
  for (const MaybeText& name : classes) out.labels.push_back(numbers.at(*name));
  return out;
}

}  // namespace

Labelling label_files(const std::string& root, const Texts& paths, LabelSource source) {
  if (source == LabelSource::none) return {};
  std::vector<MaybeText> folders, prefixes;
  for (const std::string& path : paths) {
    folders.push_back(folder_of(path));
    prefixes.push_back(prefix_of(path));
  }
  // The first picture without a class, or the number of pictures.
  const auto lacking = [](const std::vector<MaybeText>& classes) {
    return static_cast<std::size_t>(std::find(classes.begin(), classes.end(), std::nullopt) -
                                    classes.begin());
  };
  const std::size_t outside = lacking(folders), unprefixed = lacking(prefixes);
  if (source == LabelSource::automatic) {
    const bool sorted = std::set<MaybeText>(folders.begin(), folders.end()).size() > 1;
    const bool prefixed = first_told(prefixes) < paths.size();
    if (!sorted && !prefixed) return {};
    source = sorted && outside == paths.size() ? LabelSource::folders : LabelSource::names;
    if (source == LabelSource::names && unprefixed < paths.size())
      fail(
          ErrorKind::failed,
          fmt::format("{}: {} tells its class by its {} and {} does not. Each class needs a folder "
                      "of its own (cat/0001.jpg), or each file its class before the first "
                      "underscore of its name (cat_0001.jpg)",
                      root, printable(paths[first_told(sorted ? folders : prefixes)]),
                      sorted ? "folder" : "name", printable(paths[sorted ? outside : unprefixed])));
  }
  if (source == LabelSource::folders) {
    TILLER_CHECK(
        outside == paths.size(),
        "{}: {} stands in no folder of a class; with classes by folders each picture does: "
        "cat/0001.jpg",
        root, printable(paths[outside]));
    return number(folders, "the folders' names");
  }
  TILLER_CHECK(unprefixed == paths.size(),
               "{}: {} has no class before an underscore in its name; with classes by names each "
               "file has: cat_0001.jpg",
               root, printable(paths[unprefixed]));
  return number(prefixes, "the names before the first underscore");
}

std::vector<std::string> numbered_classes(std::int64_t count) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < count; ++i) names.push_back(std::to_string(i));
  return names;
}

void renumber(Labelling& labelling, const std::string& what, const Texts& table) {
  if (table.empty() || labelling.class_names.empty()) return;
  std::vector<std::int64_t> to;
  Texts unknown;
  for (std::size_t i = 0; i < labelling.class_names.size(); ++i) {
    const std::string& name = labelling.class_names[i];
    const auto found = labelling.named
                           ? std::find(table.begin(), table.end(), name)
                           : table.begin() + static_cast<std::ptrdiff_t>(std::min(i, table.size()));
    if (found == table.end()) unknown.push_back(name);
    to.push_back(found - table.begin());
  }
  TILLER_CHECK(unknown.empty(),
               "{}: {} not among the {} classes that were given, those of the training set: {}",
               what,
               unknown.size() == 1 ? fmt::format("class {} is", listed(unknown, 1))
                                   : fmt::format("classes {} are", listed(unknown, 5)),
               table.size(), listed(table, 10));
  for (std::int64_t& label : labelling.labels) label = to[static_cast<std::size_t>(label)];
  labelling.class_names = table;
}

std::string in_words(const Labelling& labelling) {
  if (labelling.class_names.empty()) return "no classes";
  return fmt::format("{} class{} from {}: {}", labelling.class_names.size(),
                     labelling.class_names.size() == 1 ? "" : "es", labelling.source,
                     listed(labelling.class_names, 10));
}

}  // namespace tiller
