#include "tests/fuzz/targets.h"

#include "runtime/files/checkpoint.h"
#include "runtime/files/image.h"
#include "runtime/files/mapped_file.h"
#include "runtime/files/npz.h"
#include "runtime/files/pickle.h"
#include "runtime/files/state_dict.h"
#include "tests/fuzz/repair.h"

namespace tiller::fuzz {

namespace {

// A hostile file may name the same bytes many times; a person would read them one by one.
constexpr std::int64_t kReadLimit = std::int64_t{32} << 20;

std::shared_ptr<const MappedFile> in_memory(ByteSpan bytes) {
  return MappedFile::copy(bytes, "fuzz");
}

template <class Body>
int attempt(const Body& body) {
  try {
    body();
  } catch (const Error&) {
  }
  backend(kCpu).release_cached();  // else freed blocks of every size would pile up
  return 0;
}

// Touches every byte, so that a sanitizer sees what lies outside.
void touch(const Tensor& tensor) {
  volatile std::uint8_t sum = 0;
  const auto* bytes = static_cast<const std::uint8_t*>(tensor.raw());
  for (std::size_t i = 0; i < tensor.bytes(); ++i) sum = static_cast<std::uint8_t>(sum ^ bytes[i]);
}

void read_checkpoint(std::shared_ptr<const MappedFile> file) {
  const Checkpoint checkpoint = Checkpoint::parse(std::move(file));
  std::int64_t left = kReadLimit;
  for (const FileTensor& tensor : checkpoint.tensors()) {
    left -= tensor.numel() * 8;
    if (left < 0) break;
    try {
      touch(checkpoint.read(tensor));
    } catch (const Error&) {  // one damaged tensor leaves the others
    }
  }
}

}  // namespace

int pt_zip(const std::uint8_t* data, std::size_t size) {
  return attempt([&] { read_checkpoint(in_memory(repair_zip({data, size}))); });
}

int pt_legacy(const std::uint8_t* data, std::size_t size) {
  return attempt([&] { read_checkpoint(in_memory({data, size})); });
}

int pickle(const std::uint8_t* data, std::size_t size) {
  return attempt([&] {
    ByteReader reader({data, size}, "fuzz");
    const Pickle pickle = Pickle::read(reader, "fuzz");
    (void)find_state_dict(pickle, "fuzz");
  });
}

int safetensors(const std::uint8_t* data, std::size_t size) {
  return attempt([&] { read_checkpoint(in_memory({data, size})); });
}

int npz(const std::uint8_t* data, std::size_t size) {
  return attempt([&] {
    const NpzReader reader = NpzReader::parse(in_memory(repair_zip({data, size})));
    for (const ArrayInfo& info : reader.arrays()) {
      if (info.bytes > static_cast<std::uint64_t>(kReadLimit)) continue;
      try {
        touch(reader.read(info.name));
        if (!info.shape.empty())
          reader.stream(info.name, 100, [](std::int64_t, const Tensor& block) { touch(block); });
      } catch (const Error&) {
      }
    }
  });
}

int image(const std::uint8_t* data, std::size_t size) {
  return attempt([&] {
    const auto file = in_memory(repair_png({data, size}));
    (void)parse_image_info(*file);
    touch(parse_image(*file));
  });
}

int optimizer(const std::uint8_t* data, std::size_t size) {
  return attempt([&] {
    const OptimizerFile file = parse_optimizer(in_memory(repair_zip({data, size})));
    for (const auto& [parameter, state] : file.state) {
      touch(state.exp_avg);
      touch(state.exp_avg_sq);
    }
  });
}

}  // namespace tiller::fuzz
