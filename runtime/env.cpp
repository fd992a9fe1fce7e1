#include "runtime/env.h"

#include <array>
#include <cstdlib>
#include <string_view>

#include "runtime/error.h"

namespace tiller {

namespace {
constexpr std::array kVariables{
    EnvVariable{"TILLER_KERNEL",
                "rows to force, as op:row[,op:row...]; conv2d_fwd:reference, for instance"},
    EnvVariable{"TILLER_THREADS", "threads on the CPU; default: every core the process may use"},
    EnvVariable{"TILLER_TRACE", "1 prints every operation as it runs, 2 its launches too"},
    EnvVariable{"TILLER_SIMT_ORDER",
                "order of threads on simt: ascending, descending, or the seed of a random one"},
    EnvVariable{"TILLER_CUDA_SYNC",
                "1 waits for each CUDA kernel, so that an error names the one that made it"},
    EnvVariable{"TILLER_REFERENCE_DIR",
                "folder with the big reference files that the tests may use"},
    EnvVariable{"OPENAI_LOGDIR",
                "folder of a training run without --out, as guided-diffusion reads it"},
    EnvVariable{"OPENAI_LOG_FORMAT",
                "what a training run writes: stdout, log, csv, json, with commas between; default "
                "stdout,log,csv"},
};
}  // namespace

std::span<const EnvVariable> environment_variables() { return kVariables; }

std::string environment(const char* name) {
  for (const EnvVariable& variable : kVariables) {
    if (std::string_view(variable.name) == name) {
      const char* value = std::getenv(name);
      return value ? value : "";
    }
  }
  fail(ErrorKind::failed,
       fmt::format("environment variable {} is not declared in runtime/env.cpp", name));
}

}  // namespace tiller
