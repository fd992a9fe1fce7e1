// tiller demo: a classifier steers a UNet that knows no classes. Which networks they are depends on
// what lies beside the program.
#include "tools/commands/demo.h"

#include <filesystem>

#include "runtime/files/atomic_file.h"
#include "tools/commands/commands.h"
#include "tools/demo_cifar/models.h"
#include "tools/sampling/announce.h"

namespace tiller {

void demo::prepare_folder(const std::string& out) {
  std::error_code error;
  std::filesystem::create_directories(out, error);
  if (error)
    fail(ErrorKind::failed, fmt::format("cannot make the folder {}: {}", out, error.message()));
  AtomicFile(out + "/grid.png");
}

int demo_command(const Flags& flags) {
  if (flags.get<bool>("train")) {
    for (const char* flag : {"models", "scales"})
      if (flags.given(flag)) warn(fmt::format("--{} has no effect with --train", flag));
    return demo::show_shapes(flags);
  }
  const std::string models =
      flags.given("models") ? flags.get<std::string>("models") : demo::find_models();
  if (models.empty()) {
    announce("demo", "no trained networks lie beside the program: it trains small ones on shapes");
    return demo::show_shapes(flags);
  }
  for (const char* flag : {"train_steps", "minutes"})
    if (flags.given(flag)) warn(fmt::format("--{} has no effect without --train", flag));
  return demo::show_cifar(flags, models);
}

}  // namespace tiller
