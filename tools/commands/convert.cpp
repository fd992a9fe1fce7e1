// tiller convert: .pt to safetensors and back, names, shapes and values kept.
#include <cmath>
#include <filesystem>

#include "nn/infer.h"
#include "runtime/files/checkpoint.h"
#include "tools/commands/commands.h"
#include "tools/flags/architecture.h"
#include "tools/fold_class.h"
#include "tools/training/state.h"

namespace tiller {

namespace {

enum class Container { pt, safetensors };

Container container_of(const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension();
  if (extension == ".pt" || extension == ".pth" || extension == ".ckpt") return Container::pt;
  if (extension == ".safetensors") return Container::safetensors;
  fail(ErrorKind::usage,
       fmt::format("the name of OUT decides the format: {} ends neither in .pt nor in .safetensors",
                   path));
}

void refuse_same_file(const std::string& in, const std::string& out) {
  std::error_code error;
  if (std::filesystem::equivalent(in, out, error))
    fail(ErrorKind::usage, fmt::format("IN and OUT are the same file: {}", in));
}

// The architecture for the metadata, where the file is a network of ours.
std::map<std::string, std::string> architecture(const Checkpoint& checkpoint, const Flags& flags) {
  const auto given = given_network_flags(flags);
  try {
    const Inference inference = infer(checkpoint, given);
    for (const std::string& line : inference.assumed)
      fmt::print(stderr, "{}: {}\n", checkpoint.path(), line);
    if (!inference.assumed.empty())
      fmt::print(stderr,
                 "what was assumed is stored as settled; if it is wrong, convert again with the "
                 "flags that are right\n");
    return config_metadata(inference);
  } catch (const Error& error) {
    if (!given.empty()) throw;  // the user asked for an architecture
    fmt::print(stderr, "no architecture is stored: {}\n", error.what());
    return {};
  }
}

std::int64_t count_infinite(const Tensor& t) {
  std::int64_t n = 0;
  for (const double v : cast_on_host(t, DType::f64).to_vector<double>()) n += std::isinf(v);
  return n;
}

}  // namespace

int convert_command(const Flags& flags) {
  const std::string in = flags.argument("IN"), out = flags.argument("OUT");
  const Container container = container_of(out);
  refuse_same_file(in, out);
  Checkpoint checkpoint = network_weights(Checkpoint::open(in));
  if (checkpoint.content() == FileContent::optimizer)
    fail(ErrorKind::checkpoint,
         fmt::format("{} is an optimizer's state, not weights; convert the model*.pt or ema_*.pt "
                     "beside it",
                     in));

  if (flags.given("fold_class"))
    checkpoint = fold_class(checkpoint, flags.get<std::string>("fold_class"), flags);

  const std::string wanted = flags.get<std::string>("dtype");
  const bool keep = wanted.empty() || wanted == "keep";
  std::vector<NamedTensor> tensors;
  std::int64_t overflowed = 0, narrowed = 0;
  std::size_t bytes = 0;
  for (const FileTensor& entry : checkpoint.tensors()) {
    Tensor value = checkpoint.read(entry);
    if (!keep && is_floating(value.dtype()) && value.dtype() != parse_dtype(wanted)) {
      const Tensor cast = cast_on_host(value, parse_dtype(wanted));
      if (size_of(cast.dtype()) < size_of(value.dtype())) ++narrowed;
      if (cast.dtype() == DType::f16) overflowed += count_infinite(cast) - count_infinite(value);
      value = cast;
    }
    bytes += value.bytes();
    tensors.push_back({entry.name, value});
  }
  if (overflowed > 0)
    fmt::print(stderr, "warning: {} values are too large for f16 and became infinite; use bf16\n",
               overflowed);

  if (container == Container::safetensors) {
    auto metadata = checkpoint.metadata();
    for (const auto& [key, value] : architecture(checkpoint, flags)) metadata[key] = value;
    write_safetensors(out, tensors, metadata);
  } else {
    if (checkpoint.metadata().contains("tiller.config"))
      fmt::print(stderr, "note: a .pt file has no metadata; the stored architecture is not kept\n");
    write_pt(out, tensors);
  }
  fmt::print(
      "{}: {} tensors, {:.1f} MB{}{}\n", out, tensors.size(), static_cast<double>(bytes) * 1e-6,
      narrowed ? fmt::format(", {} narrowed to {}", narrowed, wanted) : "",
      checkpoint.stripped().empty() ? "" : fmt::format(", \"{}\" stripped", checkpoint.stripped()));
  return 0;
}

}  // namespace tiller
