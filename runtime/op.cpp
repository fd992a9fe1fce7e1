#include "runtime/op.h"

#include "runtime/env.h"

namespace tiller {

namespace {
thread_local Math current_math = Math::f32;
thread_local DeviceType current_meta_target = DeviceType::cpu;

std::string& forced_rows() {
  static thread_local std::string spec = environment("TILLER_KERNEL");
  return spec;
}
}  // namespace

const char* name(Math math) {
  switch (math) {
    case Math::f32:
      return "f32";
    case Math::tf32:
      return "tf32";
    case Math::half:
      return "half";
  }
  return "?";
}

const char* name(RowKind kind) {
  switch (kind) {
    case RowKind::reference:
      return "reference";
    case RowKind::study:
      return "study";
    case RowKind::fast:
      return "fast";
    case RowKind::peer:
      return "peer";
  }
  return "?";
}

Math math_mode() { return current_math; }
MathGuard::MathGuard(Math math) : previous_(current_math) { current_math = math; }
MathGuard::~MathGuard() { current_math = previous_; }

DeviceType meta_target() { return current_meta_target; }
void set_meta_target(DeviceType type) { current_meta_target = type; }

ForceRows::ForceRows(std::string_view spec) : previous_(forced_rows()) { forced_rows() = spec; }
ForceRows::~ForceRows() { forced_rows() = previous_; }

namespace op_detail {

std::string_view forced_row(const char* op) {
  std::string_view spec = forced_rows();
  while (!spec.empty()) {
    const std::size_t comma = spec.find(',');
    const std::string_view entry = spec.substr(0, comma);
    const std::size_t colon = entry.find(':');
    if (colon != std::string_view::npos && entry.substr(0, colon) == op)
      return entry.substr(colon + 1);
    if (comma == std::string_view::npos) break;
    spec.remove_prefix(comma + 1);
  }
  return {};
}

void no_row(const char* op, const std::string& args, Device device, std::string_view forced,
            const std::vector<RowInfo>& rows) {
  std::string known;
  for (const RowInfo& row : rows) known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
  if (known.empty()) known = "none";
  if (!forced.empty())
    fail(ErrorKind::failed,
         fmt::format("{}: the forced row {} does not exist or does not support these arguments: {} "
                     "(rows on {}: {})",
                     op, forced, args, to_string(device), known));
  fail(ErrorKind::failed, fmt::format("{}: no kernel supports these arguments: {} (rows on {}: {})",
                                      op, args, to_string(device), known));
}

Workspace::Workspace(std::size_t bytes, Device device, Stream stream)
    : bytes_(bytes), device_(device), stream_(stream) {
  if (bytes_) data_ = backend(device_).allocate(bytes_, stream_);
}

Workspace::~Workspace() {
  if (data_) backend(device_).deallocate(data_, bytes_, stream_);
}

}  // namespace op_detail
}  // namespace tiller
