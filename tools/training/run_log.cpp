#include "tools/training/run_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/files/atomic_file.h"

namespace tiller {

namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void replace(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void append(const std::string& path, const std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "ab");
  TILLER_CHECK(file != nullptr, "cannot open {}: {}", path, std::strerror(errno));
  std::setvbuf(file, nullptr, _IOFBF, text.size() + 1);  // one write
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = std::fclose(file) == 0;
  TILLER_CHECK(written && closed, "cannot write {}: {}", path, std::strerror(errno));
}

// Numbers as Python prints them; nothing for what is not finite would lose a diverging loss.
std::string json_line(const std::map<std::string, double>& row) {
  std::string line = "{";
  for (const auto& [key, value] : row) {
    const std::string number = std::isfinite(value) ? fmt::format("{}", value)
                               : std::isnan(value)  ? "NaN"
                               : value > 0          ? "Infinity"
                                                    : "-Infinity";
    line += fmt::format("{}\"{}\": {}", line.size() > 1 ? ", " : "", key, number);
  }
  return line + "}\n";
}

// The complete lines of a file for which `keep` holds.
std::string kept_lines(const std::string& text,
                       const std::function<bool(const std::string& line)>& keep) {
  std::string kept;
  for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos;
       begin = end + 1)
    if (const std::string line = text.substr(begin, end - begin); keep(line)) kept += line + "\n";
  return kept;
}

double step_of_json(const std::string& line) {
  const std::size_t at = line.find("\"step\": ");
  return at == std::string::npos || line.back() != '}'
             ? INFINITY
             : std::strtod(line.c_str() + at + 8, nullptr);
}

}  // namespace

LogFormats parse_log_formats(const std::string& text) {
  LogFormats formats;
  for (const std::string& name : split(text.empty() ? "stdout,log,csv" : text, ',')) {
    if (name == "stdout")
      formats.table = true;
    else if (name == "log")
      formats.text = true;
    else if (name == "csv")
      formats.csv = true;
    else if (name == "json")
      formats.json = true;
    else if (!name.empty())
      formats.unknown.push_back(name);
  }
  return formats;
}

std::string log_table(const std::map<std::string, double>& row) {
  std::size_t key_width = 0, value_width = 0;
  std::map<std::string, std::string> cells;
  for (const auto& [key, value] : row) {
    cells[key] = fmt::format("{:<8}", fmt::format("{:.3g}", value));
    key_width = std::max(key_width, key.size());
    value_width = std::max(value_width, cells[key].size());
  }
  const std::string rule(key_width + value_width + 7, '-');
  std::string table = rule + "\n";
  for (const auto& [key, cell] : cells)
    table += fmt::format("| {:<{}} | {:<{}} |\n", key, key_width, cell, value_width);
  return table + rule + "\n";
}

RunLog::RunLog(std::string folder, const LogFormats& formats, std::int64_t resume_before)
    : folder_(std::move(folder)), formats_(formats) {
  const auto limit = static_cast<double>(resume_before);
  const auto renew = [&](const char* name, bool wanted, const auto& kept) {
    const std::string file = path(name);
    const bool there = std::filesystem::exists(file);
    if (resume_before >= 0 && there)
      replace(file, kept(read_all(file)));
    else if (wanted)
      replace(file, "");
    else if (there)  // of an earlier run, which this one replaces
      std::filesystem::remove(file);
  };
  const auto json_rows = [&](const std::string& text) {
    return kept_lines(text, [&](const std::string& line) { return step_of_json(line) < limit; });
  };
  renew("metrics.jsonl", true, json_rows);
  renew("progress.json", formats_.json, json_rows);
  renew("log.txt", formats_.text, [](const std::string& text) { return text; });
  renew("progress.csv", formats_.csv, [&](const std::string& text) {
    std::size_t step_column = 0;
    return kept_lines(text, [&](const std::string& line) {
      const std::vector<std::string> cells = split(line, ',');
      if (columns_.empty()) {
        columns_ = cells;
        step_column =
            static_cast<std::size_t>(std::find(cells.begin(), cells.end(), "step") - cells.begin());
        return true;
      }
      return cells.size() == columns_.size() && step_column < cells.size() &&
             std::strtod(cells[step_column].c_str(), nullptr) < limit;
    });
  });
}

void RunLog::append_csv(const std::map<std::string, double>& row) {
  const std::size_t before = columns_.size();
  for (const auto& [key, value] : row)
    if (std::find(columns_.begin(), columns_.end(), key) == columns_.end()) columns_.push_back(key);
  std::string line;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const auto cell = row.find(columns_[i]);
    if (i > 0) line += ',';
    if (cell != row.end()) line += fmt::format("{}", cell->second);
  }
  line += '\n';
  if (columns_.size() == before) {
    append(path("progress.csv"), line);
    return;
  }
  // New columns: the header changes, and earlier rows get empty cells behind theirs.
  std::string text = fmt::format("{}\n", fmt::join(columns_, ","));
  if (before > 0) {
    const std::string padding(columns_.size() - before, ',');
    bool header = true;
    kept_lines(read_all(path("progress.csv")), [&](const std::string& old) {
      if (!header) text += old + padding + "\n";
      header = false;
      return false;
    });
  }
  replace(path("progress.csv"), text + line);
}

void RunLog::row(const std::map<std::string, double>& row) {
  const std::string json = json_line(row);
  append(path("metrics.jsonl"), json);
  if (formats_.json) append(path("progress.json"), json);
  if (formats_.csv) append_csv(row);
  const std::string table = log_table(row);
  if (formats_.text) append(path("log.txt"), table);
  if (formats_.table) {
    fmt::print("{}", table);
    std::fflush(stdout);
  }
}

void RunLog::note(const std::string& text) {
  if (formats_.text) append(path("log.txt"), text + "\n");
}

}  // namespace tiller
