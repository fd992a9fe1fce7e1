#pragma once
// Which class a picture is of, where file names tell it.
#include <cstdint>
#include <string>
#include <vector>

#include "tools/data/dataset.h"

namespace tiller {

/// The classes of some pictures.
struct Labelling {
  std::vector<std::string> class_names;  ///< sorted; empty without classes
  std::vector<std::int64_t> labels;      ///< one each, or empty
  std::string source;                    ///< what told them, for the user
  bool named = true;  ///< false where the names are only the numbers 0, 1, ... as text
};

/// Reads the classes off `paths`, relative to the data's folder `root`, as `source` says. Throws
/// Error(failed) naming a picture that tells none while others do.
Labelling label_files(const std::string& root, const std::vector<std::string>& paths,
                      LabelSource source);

/// Classes that are numbers from 0 to count - 1.
std::vector<std::string> numbered_classes(std::int64_t count);

/// Numbers the classes as `table` does, by name, or by number where they have no names. Throws
/// Error(failed) naming the classes that the table lacks.
void renumber(Labelling& labelling, const std::string& what, const std::vector<std::string>& table);

/// "3 classes from the folders' names: cat, dog, fish", or "no classes"; at most ten are listed.
std::string in_words(const Labelling& labelling);

}  // namespace tiller
