#pragma once
// Trained networks beside the program: where they lie, and what they are called.
#include <string>

namespace tiller::demo {

inline constexpr const char* kUnetFile = "cifar10_unet.safetensors";  ///< knows no classes
inline constexpr const char* kConditionalUnetFile = "cifar10_unet_cond.safetensors";
inline constexpr const char* kGuideFile = "cifar10_classifier_noised.safetensors";
inline constexpr const char* kJudgeFile = "cifar10_classifier_clean.safetensors";

/// The folder of these files, or "" where there is none: tools/demo_models in a folder above the
/// program (the source tree that it was built in), or share/tiller/demo_models there (an
/// installation).
std::string find_models();

/// find_models() for a program at `program`.
std::string find_models_of(const std::string& program);

/// folder/file. Throws Error(usage) naming the file where it is missing.
std::string model_file(const std::string& folder, const std::string& file);

}  // namespace tiller::demo
