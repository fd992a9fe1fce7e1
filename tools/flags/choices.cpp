#include "tools/flags/choices.h"

#include <algorithm>

namespace tiller {

LabelSource label_source(const std::string& text) {
  return text == "folders" ? LabelSource::folders
         : text == "names" ? LabelSource::names
                           : LabelSource::automatic;
}

std::vector<double> sorted_scales(const Flags& flags) {
  std::vector<double> scales = flags.list<double>("scales");
  if (scales.empty()) fail(ErrorKind::usage, "--scales: at least one scale is needed: 0,1,4");
  std::sort(scales.begin(), scales.end());
  scales.erase(std::unique(scales.begin(), scales.end()), scales.end());
  return scales;
}

}  // namespace tiller
