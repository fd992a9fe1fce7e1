// tiller plot: the curves of training runs.
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "tools/commands/commands.h"
#include "tools/plot/curves.h"
#include "tools/sampling/announce.h"

namespace tiller {

namespace {

std::vector<std::string> words(const std::string& list) {
  std::vector<std::string> out;
  for (std::size_t begin = 0; begin < list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    if (end > begin) out.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

// Runs in folders of one name are told apart by their paths.
void tell_apart(std::vector<ProgressLog>& runs, const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  for (const ProgressLog& run : runs) names.push_back(run.name);
  for (std::size_t i = 0; i < runs.size(); ++i)
    if (std::count(names.begin(), names.end(), names[i]) > 1) runs[i].name = paths[i];
}

}  // namespace

int plot_command(const Flags& flags) {
  const auto out = flags.get<std::string>("out");
  const std::string extension = std::filesystem::path(out).extension();
  if (extension != ".svg" && extension != ".png")
    fail(ErrorKind::usage, fmt::format("--out {}: the file's name ends with .svg or .png", out));
  const std::vector<std::string> paths = flags.arguments("RUN");
  std::vector<ProgressLog> runs;
  for (const std::string& path : paths) runs.push_back(read_progress(path));
  tell_apart(runs, paths);

  CurveOptions options;
  options.keys = words(flags.get<std::string>("keys"));
  options.x = flags.get<std::string>("x");
  options.smooth = flags.get<double>("smooth");
  options.log_y = flags.get<bool>("log_y");
  const std::vector<Chart> charts = make_charts(runs, options);
  TILLER_CHECK(!charts.empty(), "{}: no number that can be drawn{}", fmt::join(paths, ", "),
               options.log_y ? "; a logarithmic axis shows those above 0" : "");
  const PageSize size = page_size(charts.size());
  const std::unique_ptr<Canvas> canvas = extension == ".svg"
                                             ? svg_canvas(size.width, size.height)
                                             : pixel_canvas(size.width, size.height);
  draw_charts(*canvas, charts);
  canvas->write(out);
  announce("out", fmt::format("{} charts in {}", charts.size(), out));
  return 0;
}

}  // namespace tiller
