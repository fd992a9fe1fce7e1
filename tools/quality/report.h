#pragma once
// The measurements over the guidance scale, as a table for people, one for programs, and a drawing.
#include <cstdint>
#include <string>
#include <vector>

#include "tools/plot/chart.h"

namespace tiller::quality {

/// What was measured on one set of pictures. NaN where it could not be.
struct Measurement {
  double scale = 0;        ///< of the guidance; no meaning for real pictures
  std::int64_t count = 0;  ///< of the pictures
  double frechet = 0;      ///< distance to the real pictures
  double accuracy = 0;     ///< share in which the judge sees the class asked for
  double precision = 0, recall = 0;
  double spread = 0;  ///< mean distance within a class, 1 for real pictures
};

struct Report {
  std::string features;            ///< whose: "the features of cifar10_classifier_clean"
  std::vector<std::string> notes;  ///< lines on the conditions: networks, sampler, data, machine
  std::vector<Measurement> rows;   ///< in the order of their scales
  std::vector<Measurement> real;   ///< one row on real pictures, or none
};

/// scale,samples,frechet,accuracy,precision,recall,spread; "real" instead of a scale.
std::string as_csv(const Report& report);
/// The notes and a table in Markdown, with what each column is.
std::string as_markdown(const Report& report);
/// Each quantity over the scale, as Dhariwal & Nichol 2021 draw theirs in figure 4; the real
/// pictures' value is a dashed line.
std::vector<Chart> charts(const Report& report);

/// Writes PREFIX.csv, PREFIX.md, PREFIX.svg and PREFIX.png, each atomically; returns their names.
std::vector<std::string> write_report(const Report& report, const std::string& prefix);

}  // namespace tiller::quality
