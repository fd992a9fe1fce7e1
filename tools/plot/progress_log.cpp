#include "tools/plot/progress_log.h"

#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>

#include "runtime/error.h"

namespace tiller {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::string_view stripped(std::string_view cell) {
  const auto is_wrapping = [](char c) { return c == ' ' || c == '\r' || c == '\t' || c == '"'; };
  while (!cell.empty() && is_wrapping(cell.front())) cell.remove_prefix(1);
  while (!cell.empty() && is_wrapping(cell.back())) cell.remove_suffix(1);
  return cell;
}

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> cells;
  for (std::size_t begin = 0; begin <= line.size();) {
    const std::size_t end = std::min(line.find(',', begin), line.size());
    cells.push_back(stripped(line.substr(begin, end - begin)));
    begin = end + 1;
  }
  return cells;
}

// from_chars takes "nan" and "inf" too, as Python and C++ write them.
std::optional<double> number(std::string_view cell) {
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (end != cell.data() + cell.size() || cell.empty()) return std::nullopt;
  if (error == std::errc::result_out_of_range) return kNone;
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

// A line of which no cell is a number, and some cell a text.
bool is_header(const std::vector<std::string_view>& cells) {
  bool any = false;
  for (const std::string_view cell : cells) {
    if (number(cell)) return false;
    any = any || !cell.empty();
  }
  return any;
}

}  // namespace

ProgressLog parse_progress(std::string_view text) {
  ProgressLog log;
  std::vector<std::string> columns;  // the key of each
  std::size_t size = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t newline = text.find('\n', begin);
    const std::size_t end = std::min(newline, text.size());
    const std::vector<std::string_view> cells = split(text.substr(begin, end - begin));
    begin = end + 1;
    const bool half_written = newline == std::string_view::npos && cells.size() < columns.size();
    if (half_written || (cells.size() == 1 && cells[0].empty())) continue;
    if (is_header(cells)) {
      columns.assign(cells.begin(), cells.end());
      for (const std::string& key : columns)
        if (!key.empty() && log.rows.try_emplace(key, size, kNone).second) log.keys.push_back(key);
      continue;
    }
    ++size;
    for (auto& [key, values] : log.rows) values.resize(size, kNone);
    for (std::size_t i = 0; i < std::min(cells.size(), columns.size()); ++i)
      if (!columns[i].empty()) log.rows[columns[i]].back() = number(cells[i]).value_or(kNone);
  }
  return log;
}

ProgressLog read_progress(const std::string& run) {
  namespace fs = std::filesystem;
  const bool folder = fs::is_directory(run);
  const fs::path path = folder ? fs::path(run) / "progress.csv" : fs::path(run);
  std::ifstream file(path, std::ios::binary);
  TILLER_CHECK(file && fs::is_regular_file(path),
               "{}: {}; a run of tiller train writes progress.csv into its folder", run,
               folder ? "there is no progress.csv in this folder" : "there is no such run or file");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  ProgressLog log = parse_progress(text);
  TILLER_CHECK(log.size() > 0, "{}: no line of numbers yet; one comes every --log_interval steps",
               path.string());
  // The folder's name says more than "progress.csv" does.
  const fs::path named = fs::absolute(folder ? fs::path(run) / "." : path).lexically_normal();
  log.name = named.parent_path().filename();
  if (!folder && path.filename() != "progress.csv") log.name = path.stem();
  return log;
}

}  // namespace tiller
