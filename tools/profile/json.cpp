// Profiles and traces as JSON.
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/error.h"
#include "tools/profile/report.h"

namespace tiller {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "tiller-profile-1";

Json cost_json(const Cost& cost) {
  return {{"flops", cost.flops},
          {"bytes_read", cost.bytes_read},
          {"bytes_written", cost.bytes_written}};
}

Cost cost_from(const Json& json) {
  return {json.at("flops").get<double>(), json.at("bytes_read").get<double>(),
          json.at("bytes_written").get<double>()};
}

Json row_json(const ProfileRow& row) {
  return {{"name", row.name},
          {"calls", row.calls},
          {"seconds", row.seconds},
          {"cost", cost_json(row.cost)},
          {"roof_seconds", row.roof_seconds},
          {"compute_seconds", row.compute_seconds},
          {"gflop_per_s", row.flops_per_second() * 1e-9},
          {"gb_per_s", row.bytes_per_second() * 1e-9},
          {"share_of_ceiling", row.efficiency()},
          {"bound", row.compute_bound() ? "compute" : "memory"},
          {"peak_live", row.peak_live},
          {"per_step", row.per_step}};
}

ProfileRow row_from(const Json& json) {
  ProfileRow row;
  row.name = json.at("name").get<std::string>();
  row.calls = json.at("calls").get<std::int64_t>();
  row.seconds = json.at("seconds").get<double>();
  row.cost = cost_from(json.at("cost"));
  row.roof_seconds = json.at("roof_seconds").get<double>();
  row.compute_seconds = json.at("compute_seconds").get<double>();
  row.peak_live = json.at("peak_live").get<std::size_t>();
  row.per_step = json.at("per_step").get<std::vector<double>>();
  return row;
}

}  // namespace

std::string profile_json(const Profile& profile) {
  Json json = {{"format", kFormat},
               {"command", profile.command},
               {"version", profile.version},
               {"device", profile.device},
               {"threads", profile.threads},
               {"ceilings",
                {{"flops_per_second", profile.ceilings.flops_per_second},
                 {"bytes_per_second", profile.ceilings.bytes_per_second}}},
               {"steps", profile.steps},
               {"operations", profile.operations},
               {"wall_seconds", profile.wall_seconds},
               {"wall_per_step", profile.wall_per_step},
               {"busy_seconds", profile.busy_seconds},
               {"gap_seconds", profile.gap_seconds()},
               {"cost", cost_json(profile.cost)},
               {"peak_live", profile.peak_live},
               {"advice", advice(profile)}};
  for (const auto& [by, rows] : profile.tables) {
    Json& table = json["by_" + std::string(name(by))] = Json::array();
    for (const ProfileRow& row : rows) table.push_back(row_json(row));
  }
  return json.dump(1) + "\n";
}

Profile read_profile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) fail(ErrorKind::failed, fmt::format("{}: cannot be read", path));
  try {
    const Json json = Json::parse(text.str());
    TILLER_CHECK(json.at("format") == kFormat, "its format is {}", json.at("format").dump());
    Profile profile;
    profile.command = json.at("command").get<std::string>();
    profile.version = json.at("version").get<std::string>();
    profile.device = json.at("device").get<std::string>();
    profile.threads = json.at("threads").get<int>();
    profile.ceilings = {json.at("ceilings").at("flops_per_second").get<double>(),
                        json.at("ceilings").at("bytes_per_second").get<double>()};
    profile.steps = json.at("steps").get<std::int64_t>();
    profile.operations = json.at("operations").get<std::int64_t>();
    profile.wall_seconds = json.at("wall_seconds").get<double>();
    profile.wall_per_step = json.at("wall_per_step").get<std::vector<double>>();
    profile.busy_seconds = json.at("busy_seconds").get<double>();
    profile.cost = cost_from(json.at("cost"));
    profile.peak_live = json.at("peak_live").get<std::size_t>();
    for (const ProfileBy by :
         {ProfileBy::kernel, ProfileBy::module, ProfileBy::shape, ProfileBy::phase})
      for (const Json& row : json.at("by_" + std::string(name(by))))
        profile.tables[by].push_back(row_from(row));
    return profile;
  } catch (const std::exception& error) {
    fail(ErrorKind::failed,
         fmt::format("{} is no profile of ours (tiller profile --out writes one): {}", path,
                     error.what()));
  }
}

std::string chrome_trace(const Recording& recording) {
  Json events = Json::array();
  const auto track = [&](int id, const char* title) {
    events.push_back({{"ph", "M"},
                      {"pid", 1},
                      {"tid", id},
                      {"name", "thread_name"},
                      {"args", {{"name", title}}}});
  };
  track(1, "phase");
  track(2, "module");
  track(3, "operation");
  const std::int64_t origin = recording.ops.empty() ? 0 : recording.ops.front().begin_ns;
  const auto us = [&](std::int64_t ns) { return static_cast<double>(ns - origin) * 1e-3; };
  const auto slice = [&](int id, const std::string& title, std::int64_t begin, std::int64_t end,
                         Json args) {
    events.push_back({{"ph", "X"},
                      {"pid", 1},
                      {"tid", id},
                      {"name", title},
                      {"ts", us(begin)},
                      {"dur", static_cast<double>(end - begin) * 1e-3},
                      {"args", std::move(args)}});
  };
  // Runs of operations with the same phase, or the same module, are one slice.
  const auto runs = [&](int id, int OpRecord::*what, const char* none) {
    for (std::size_t i = 0; i < recording.ops.size();) {
      std::size_t end = i + 1;
      while (end < recording.ops.size() && recording.ops[end].*what == recording.ops[i].*what &&
             recording.ops[end].step == recording.ops[i].step)
        ++end;
      const std::string& title = recording.names[recording.ops[i].*what];
      slice(id, title.empty() ? none : title, recording.ops[i].begin_ns,
            recording.ops[end - 1].end_ns, {{"step", recording.ops[i].step}});
      i = end;
    }
  };
  runs(1, &OpRecord::phase, "forward");
  runs(2, &OpRecord::module, "(outside the networks)");
  for (const OpRecord& op : recording.ops) {
    slice(3, recording.names[op.kernel], op.begin_ns, op.end_ns,
          {{"shape", recording.names[op.shape]},
           {"module", recording.names[op.module]},
           {"step", op.step},
           {"gflop", op.cost.flops * 1e-9},
           {"bytes", op.cost.bytes_read + op.cost.bytes_written}});
    events.push_back({{"ph", "C"},
                      {"pid", 1},
                      {"name", "live bytes"},
                      {"ts", us(op.end_ns)},
                      {"args", {{"bytes", op.live_bytes}}}});
  }
  return Json{{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}}.dump() + "\n";
}

}  // namespace tiller
