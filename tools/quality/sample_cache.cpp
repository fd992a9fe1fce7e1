#include "tools/quality/sample_cache.h"

#include <zlib.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "runtime/files/mapped_file.h"
#include "runtime/files/npz.h"

namespace tiller::quality {

namespace {

// The first setting in which two differ, for the message.
std::string difference(const Settings& stored, const Settings& wanted) {
  for (const auto& [name, value] : wanted) {
    const auto found = stored.find(name);
    if (found == stored.end()) return fmt::format("it does not tell its {}", name);
    if (found->second != value) return fmt::format("{} was {}, not {}", name, found->second, value);
  }
  return {};
}

Settings parse_settings(const NpzReader& file, const std::string& path) {
  TILLER_CHECK_FILE(file.contains("settings") && file.contains("arr_0") && file.contains("arr_1"),
                    "{}: the file holds no samples of this program; give another --out", path);
  const std::vector<std::uint8_t> bytes = file.read("settings").to_vector<std::uint8_t>();
  const auto json = nlohmann::json::parse(bytes.begin(), bytes.end(), nullptr, false);
  Settings settings;
  if (json.is_object())
    for (const auto& [name, value] : json.items())
      if (value.is_string()) settings[name] = value.get<std::string>();
  return settings;
}

}  // namespace

SampleFile read_samples(const std::string& path, const Settings& settings) {
  SampleFile samples;
  if (!std::filesystem::exists(path)) return samples;
  const NpzReader file = NpzReader::open(path);
  const std::string other = difference(parse_settings(file, path), settings);
  if (!other.empty())
    fail(ErrorKind::usage,
         fmt::format("{} holds samples of other settings: {}; give another --out, or remove the "
                     "file",
                     path, other));
  samples.pixels = file.read("arr_0");
  const Tensor labels = file.read("arr_1");
  TILLER_CHECK_FILE(
      samples.pixels.rank() == 4 && samples.pixels.dtype() == DType::u8 && labels.rank() == 1 &&
          labels.dtype() == DType::i64 && labels.dim(0) == samples.pixels.dim(0),
      "{}: {} with labels {} are no samples", path, to_string(samples.pixels), to_string(labels));
  samples.labels = labels.to_vector<std::int64_t>();
  return samples;
}

void write_samples(const std::string& path, const SampleFile& samples, const Settings& settings) {
  const std::string text = nlohmann::json(settings).dump();
  NpzWriter file(path);
  file.write("arr_0", samples.pixels);
  file.write("arr_1", Tensor::from(samples.labels, {samples.size()}));
  file.write("settings", Tensor::from(std::vector<std::uint8_t>(text.begin(), text.end()),
                                      {static_cast<std::int64_t>(text.size())}));
  file.finish();
}

std::string fingerprint(const std::string& path) {
  const auto file = MappedFile::open(path);
  const ByteSpan bytes = file->bytes();
  return fmt::format("{:08x}", crc32_z(crc32_z(0, nullptr, 0), bytes.data(), bytes.size()));
}

}  // namespace tiller::quality
