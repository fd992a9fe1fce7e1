// tiller devices: what this program can run on here.
#include <nlohmann/json.hpp>

#include "kernels/registry.h"
#include "runtime/backend.h"
#include "runtime/env.h"
#include "tools/commands/commands.h"

namespace tiller {

namespace {

constexpr Device kDevices[] = {kCpu, {DeviceType::cuda, 0}, {DeviceType::simt, 0}, kMeta};

// The device's description, or why it cannot be used.
std::pair<bool, std::string> state(Device device) {
  try {
    return {true, backend(device).describe()};
  } catch (const Error& error) {
    return {false, error.what()};
  }
}

void print_rows() {
  fmt::print("\nkernel rows, in study order\n");
  for (const OpBase* op : all_ops())
    for (const Device device : kDevices) {
      std::string rows;
      for (const RowInfo& row : op->row_table(device.type))
        rows += fmt::format("{}{} ({})", rows.empty() ? "" : ", ", row.name, name(row.kind));
      if (!rows.empty()) fmt::print("  {:<24} {:<5} {}\n", op->name, name(device.type), rows);
    }
}

nlohmann::json json_report() {
  nlohmann::json json;
  for (const Device device : kDevices) {
    const auto [usable, text] = state(device);
    json["devices"].push_back(
        {{"name", to_string(device)}, {"available", usable}, {"description", text}});
  }
  for (const EnvVariable& variable : environment_variables())
    json["environment"].push_back(
        {{"name", variable.name}, {"value", environment(variable.name)}, {"help", variable.help}});
  for (const OpBase* op : all_ops())
    for (const Device device : kDevices)
      for (const RowInfo& row : op->row_table(device.type))
        json["rows"].push_back({{"op", op->name},
                                {"device", name(device.type)},
                                {"row", row.name},
                                {"kind", name(row.kind)},
                                {"math", name(row.math)}});
  return json;
}

}  // namespace

int devices_command(const Flags& flags) {
  if (flags.get<bool>("json")) {
    fmt::print("{}\n", json_report().dump(2));
    return 0;
  }
  for (const Device device : kDevices) {
    const auto [usable, text] = state(device);
    fmt::print("{:<7} {:<13} {}\n", to_string(device), usable ? "available" : "not available",
               text);
  }
  fmt::print("\nenvironment\n");
  for (const EnvVariable& variable : environment_variables()) {
    const std::string value = environment(variable.name);
    fmt::print("  {:<22} {}{}\n", variable.name, variable.help,
               value.empty() ? "" : fmt::format(" [now: {}]", value));
  }
  if (flags.get<bool>("rows")) print_rows();
  return 0;
}

}  // namespace tiller
