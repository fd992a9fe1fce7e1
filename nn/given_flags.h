#pragma once
// Flags that a user gave, met with what a checkpoint's shapes say.
#include <optional>
#include <string>

#include "nn/anatomy.h"
#include "nn/infer.h"

namespace tiller {

/// Reads flags by name, under the classifier's prefix where it has its own. Values that are no
/// value of their type are Error(usage).
class FlagReader {
 public:
  FlagReader(const GivenFlags& given, bool classifier) : given_(given), classifier_(classifier) {}
  bool has(const char* flag) const { return given_.contains(flag) && !given_.at(flag).empty(); }
  std::optional<std::string> text(const char* flag) const;
  std::optional<std::int64_t> integer(const char* flag) const;
  std::optional<double> number(const char* flag) const;
  std::optional<bool> boolean(const char* flag) const;
  bool classifier() const { return classifier_; }

 private:
  const GivenFlags& given_;
  bool classifier_;
};

/// Throws Error(usage) naming the first given flag that the shapes contradict. `image_size` of the
/// network serves to understand --attention_resolutions.
void check_against_shapes(const FlagReader& flags, const Anatomy& anatomy, bool super_resolution,
                          std::int64_t image_size);

/// The picture size for which the given --attention_resolutions mean the attention that the shapes
/// have, if there is exactly one such size.
std::optional<std::int64_t> size_from_attention(const FlagReader& flags, const Anatomy& anatomy);

/// Puts what shapes cannot tell, where it was given, into the configuration.
void apply(const FlagReader& flags, UNetConfig& config);
void apply(const FlagReader& flags, ClassifierConfig& config);

}  // namespace tiller
