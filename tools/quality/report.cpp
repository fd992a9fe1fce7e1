#include "tools/quality/report.h"

#include <cmath>

#include "runtime/files/atomic_file.h"
#include "tools/plot/curves.h"

namespace tiller::quality {

namespace {

std::string number(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : "-";
}

// Features have any scale, so a distance between them may have any size.
std::string significant(double value) {
  return std::isfinite(value) ? fmt::format("{:.3g}", value) : "-";
}

std::string csv_number(double value) {
  return std::isfinite(value) ? fmt::format("{:.6g}", value) : "";
}

std::string markdown_row(const std::string& what, const Measurement& m) {
  return fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", what, m.count,
                     significant(m.frechet), number(100 * m.accuracy, 1), number(m.precision, 3),
                     number(m.recall, 3), number(m.spread, 3));
}

std::string csv_row(const std::string& what, const Measurement& m) {
  return fmt::format("{},{},{},{},{},{},{}\n", what, m.count, csv_number(m.frechet),
                     csv_number(m.accuracy), csv_number(m.precision), csv_number(m.recall),
                     csv_number(m.spread));
}

void write_text(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

/// One quantity of a chart.
struct Curve {
  const char* name;
  double Measurement::*value;
};

Chart chart_of(const Report& report, const std::string& title, const std::vector<Curve>& curves) {
  Chart chart;
  chart.title = title;
  chart.x_label = "guidance scale";
  for (std::size_t i = 0; i < curves.size(); ++i) {
    Series series;
    series.name = curves.size() > 1 ? curves[i].name : "samples";
    series.stroke = {.colour = curve_colour(i), .width = 1.5};
    for (const Measurement& row : report.rows) {
      series.x.push_back(row.scale);
      series.y.push_back(row.*curves[i].value);
    }
    if (!report.real.empty()) {
      Series real;
      real.name = i + 1 == curves.size() ? "real" : "";
      real.stroke = {.colour = curve_colour(i), .width = 1, .dash = 1};
      for (const double x : {series.x.front(), series.x.back()}) {
        real.x.push_back(x);
        real.y.push_back(report.real.front().*curves[i].value);
      }
      chart.series.push_back(std::move(real));
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

}  // namespace

std::string as_csv(const Report& report) {
  std::string text = "scale,samples,frechet,accuracy,precision,recall,spread\n";
  for (const Measurement& row : report.rows) text += csv_row(fmt::format("{:g}", row.scale), row);
  for (const Measurement& row : report.real) text += csv_row("real", row);
  return text;
}

std::string as_markdown(const Report& report) {
  std::string text;
  for (const std::string& note : report.notes) text += note + "\n";
  text += fmt::format(
      "\n| guidance scale | samples | Fréchet distance | accuracy, % | precision | recall | spread "
      "|\n| --- | --- | --- | --- | --- | --- | --- |\n");
  for (const Measurement& row : report.rows)
    text += markdown_row(fmt::format("{:g}", row.scale), row);
  for (const Measurement& row : report.real) text += markdown_row("real pictures", row);
  text += fmt::format(
      "\nFréchet distance, precision, recall and spread are taken in {}: none of them is "
      "comparable "
      "with an FID, which takes another network's.\n\n"
      "- Fréchet distance: of the normal distributions fitted to the samples' features and to the "
      "real pictures' (lower is closer; fewer samples give a larger one)\n"
      "- accuracy: share of samples in which that classifier, which never steered, sees the class "
      "asked for\n"
      "- precision, recall: share of samples among the real pictures, and of real pictures among "
      "the samples, by nearest neighbours (Kynkäänniemi et al. 2019)\n"
      "- spread: mean distance of two samples of one class, divided by that of two real pictures "
      "of "
      "one class\n",
      report.features);
  if (!report.real.empty())
    text +=
        "- real pictures: one half of the real pictures, measured against the other half as "
        "samples "
        "are\n";
  return text;
}

std::vector<Chart> charts(const Report& report) {
  // The drawn font has ASCII alone.
  std::vector<Chart> all = {
      chart_of(report, "Frechet distance to real pictures", {{"", &Measurement::frechet}}),
      chart_of(report, "share of the class asked for", {{"", &Measurement::accuracy}}),
      chart_of(report, "fidelity and diversity",
               {{"precision", &Measurement::precision}, {"recall", &Measurement::recall}}),
      chart_of(report, "spread within a class", {{"", &Measurement::spread}})};
  std::erase_if(all, [](const Chart& chart) { return !chart.drawable(); });
  return all;
}

std::vector<std::string> write_report(const Report& report, const std::string& prefix) {
  write_text(prefix + ".csv", as_csv(report));
  write_text(prefix + ".md", as_markdown(report));
  const std::vector<Chart> drawn = charts(report);
  const PageSize size = page_size(drawn.size());
  const std::unique_ptr<Canvas> svg = svg_canvas(size.width, size.height);
  const std::unique_ptr<Canvas> pixels = pixel_canvas(size.width, size.height);
  draw_charts(*svg, drawn);
  draw_charts(*pixels, drawn);
  svg->write(prefix + ".svg");
  pixels->write(prefix + ".png");
  return {prefix + ".csv", prefix + ".md", prefix + ".svg", prefix + ".png"};
}

}  // namespace tiller::quality
