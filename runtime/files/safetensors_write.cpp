#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "runtime/files/atomic_file.h"
#include "runtime/files/checkpoint.h"

namespace tiller {

namespace {

const char* type_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::f16:
      return "F16";
    case DType::bf16:
      return "BF16";
    case DType::f64:
      return "F64";
    case DType::i64:
      return "I64";
    case DType::i32:
      return "I32";
    case DType::i16:
      return "I16";
    case DType::i8:
      return "I8";
    case DType::u8:
      return "U8";
    case DType::boolean:
      return "BOOL";
  }
  return "F32";
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  // Wide types first keeps every tensor aligned to its element; then by name, as the original does.
  std::vector<const NamedTensor*> order;
  std::unordered_set<std::string_view> names;
  for (const NamedTensor& tensor : tensors) {
    TILLER_CHECK(
        !tensor.name.empty() && tensor.name != "__metadata__" && names.insert(tensor.name).second,
        "safetensors: the name \"{}\" is empty, reserved or used twice", tensor.name);
    order.push_back(&tensor);
  }
  std::stable_sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    const std::size_t wide_a = size_of(a->tensor.dtype()), wide_b = size_of(b->tensor.dtype());
    return wide_a != wide_b ? wide_a > wide_b : a->name < b->name;
  });
  nlohmann::ordered_json header;
  nlohmann::ordered_json notes = metadata;
  notes["format"] = "pt";  // Hugging Face's loaders insist on it
  header["__metadata__"] = notes;
  std::uint64_t offset = 0;
  for (const NamedTensor* tensor : order) {
    const std::uint64_t end = offset + tensor->tensor.bytes();
    header[tensor->name] = {{"dtype", type_name(tensor->tensor.dtype())},
                            {"shape", std::vector<std::int64_t>(tensor->tensor.shape().begin(),
                                                                tensor->tensor.shape().end())},
                            {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();

  AtomicFile file(path);
  file.write(&length, sizeof length);
  file.write(text);
  for (const NamedTensor* tensor : order) {
    const Tensor host = tensor->tensor.to(kCpu).contiguous();
    file.write(host.raw(), host.bytes());
  }
  file.commit();
}

}  // namespace tiller
