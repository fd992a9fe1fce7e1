#include "tools/demo_cifar/models.h"

#include <filesystem>

#include "runtime/error.h"

namespace tiller::demo {

namespace fs = std::filesystem;

std::string find_models_of(const std::string& program) {
  // build/release/tiller and prefix/bin/tiller: what is looked for lies beside a folder above.
  fs::path above = fs::path(program).parent_path();
  for (int levels = 0; levels < 4 && !above.empty(); ++levels) {
    for (const char* place : {"tools/demo_models", "share/tiller/demo_models"}) {
      std::error_code none;
      if (fs::exists(above / place / kUnetFile, none)) return above / place;
    }
    above = above.parent_path();
  }
  return {};
}

std::string find_models() {
  std::error_code unknown;
  const fs::path program = fs::read_symlink("/proc/self/exe", unknown);
  return unknown ? std::string() : find_models_of(program);
}

std::string model_file(const std::string& folder, const std::string& file) {
  const std::string path = folder + "/" + file;
  if (!fs::exists(path)) fail(ErrorKind::usage, fmt::format("{}: the network is missing", path));
  return path;
}

}  // namespace tiller::demo
