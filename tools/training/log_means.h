#pragma once
// What is logged between two lines of the log.
#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace tiller {

/// Means by key, as guided-diffusion's logkv_mean keeps them until its dumpkvs.
class LogMeans {
 public:
  struct Entry {
    double sum = 0;
    std::int64_t count = 0;
  };

  void add(const std::string& key, double value);
  /// The mean of a microbatch's values under `key`, and each value under key_q0 .. key_q3 by the
  /// quarter of the process that its step lies in: int(4 step / steps).
  void add_by_quartile(const std::string& key, std::span<const float> values,
                       std::span<const std::int64_t> step, std::int64_t steps);
  /// The means, and a fresh start.
  std::map<std::string, double> take();

  /// What a resumed training needs.
  const std::map<std::string, Entry>& entries() const { return entries_; }
  void restore(std::map<std::string, Entry> entries) { entries_ = std::move(entries); }

 private:
  std::map<std::string, Entry> entries_;
};

}  // namespace tiller
