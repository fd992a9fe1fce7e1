#pragma once
// An operation is declared once and implemented many times. kernels/<op>/<op>.h declares the
// argument struct, its cost, and an Op; each device contributes Rows in study order, from the
// readable definition to the fastest. run() chooses a row, gives it its workspace, and reports to
// the trace.
#include <atomic>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tensor.h"
#include "runtime/trace.h"

namespace tiller {

/// The least precise arithmetic that a request allows, from exact to fast. A row computes in one
/// mode and serves requests for that mode or a faster one; no row silently lowers it. f16 and bf16
/// tensors are requests for `half`; f32 tensors request what math_mode() says; f64 tensors request
/// f32 and are served by rows that compute in f64.
enum class Math : std::uint8_t { f32, tf32, half };

const char* name(Math math);

/// The mode that f32 tensors request on this thread: f32 unless a MathGuard says tf32.
Math math_mode();

class MathGuard {
 public:
  explicit MathGuard(Math math);
  ~MathGuard();
  MathGuard(const MathGuard&) = delete;
  MathGuard& operator=(const MathGuard&) = delete;

 private:
  Math previous_;
};

/// What a row is for. A `reference` row is the readable specification; a `study` row is a step of
/// the progression (naive, tiled, ...); a `fast` row is meant to be used; a `peer` row calls
/// somebody else's library for comparison and is never chosen by default.
enum class RowKind : std::uint8_t { reference, study, fast, peer };

const char* name(RowKind kind);

/// One implementation of an operation on one device.
template <class Args>
struct Row {
  const char* name;  ///< "reference", "v1_naive", "v3_mma@128x192", ...; never renumbered
  DeviceType device;
  Math math;
  RowKind kind;
  bool (*supports)(const Args&);          ///< looks at shapes, dtypes, alignment; never at data
  std::size_t (*workspace)(const Args&);  ///< bytes of scratch memory, or null for none
  void (*run)(const Args&, void* workspace, Stream stream);
  mutable std::atomic<std::uint64_t> calls{0};  ///< how often run() chose it
};

/// A row without its argument type, for tables, tests and benchmarks.
struct RowInfo {
  const char* name;
  DeviceType device;
  Math math;
  RowKind kind;
  std::uint64_t calls;
};

/// An operation without its argument type.
class OpBase {
 public:
  explicit OpBase(const char* op_name) : name(op_name) {}
  virtual ~OpBase() = default;
  virtual std::vector<RowInfo> row_table(DeviceType device) const = 0;
  const char* const name;
};

/// An operation: Args needs `Device device() const`, `DType dtype() const` (which decides the math
/// request) and free functions `Cost cost(const Args&)` and `std::string describe(const Args&)`.
template <class Args>
class Op final : public OpBase {
 public:
  /// `rows` gives each device's rows in study order. `tuned` may name the row that the tuned table
  /// prefers for these arguments, or return null.
  Op(const char* op_name, std::span<const Row<Args>> (*rows_of)(DeviceType),
     const char* (*tuned_row)(const Args&, DeviceType) = nullptr)
      : OpBase(op_name), rows(rows_of), tuned(tuned_row) {}
  std::vector<RowInfo> row_table(DeviceType device) const override {
    std::vector<RowInfo> table;
    for (const Row<Args>& row : rows(device))
      table.push_back({row.name, row.device, row.math, row.kind, row.calls.load()});
    return table;
  }
  std::span<const Row<Args>> (*const rows)(DeviceType);
  const char* (*const tuned)(const Args&, DeviceType);
};

/// Forces rows, as TILLER_KERNEL does, until the guard dies:
/// "conv2d_fwd:reference,attention_fwd:v1". A forced row that does not support the arguments is an
/// error, not a fallback.
class ForceRows {
 public:
  explicit ForceRows(std::string_view spec);
  ~ForceRows();
  ForceRows(const ForceRows&) = delete;
  ForceRows& operator=(const ForceRows&) = delete;

 private:
  std::string previous_;
};

/// The device whose rows a run on meta pretends to choose from (cpu by default).
DeviceType meta_target();
void set_meta_target(DeviceType type);

namespace op_detail {
/// The row forced for this op, or empty.
std::string_view forced_row(const char* op);
[[noreturn]] void no_row(const char* op, const std::string& args, Device device,
                         std::string_view forced, const std::vector<RowInfo>& rows);
inline Math requested_math(DType dtype) {
  return dtype == DType::f16 || dtype == DType::bf16 ? Math::half : math_mode();
}
/// Scratch memory of one call.
class Workspace {
 public:
  Workspace(std::size_t bytes, Device device, Stream stream);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_;
  Device device_;
  Stream stream_;
};
}  // namespace op_detail

/// The row that run() would use: the forced one, else the tuned one, else the last that supports the
/// arguments and is no peer. Null when there is none.
template <class Args>
const Row<Args>* find_row(const Op<Args>& op, const Args& args) {
  const Device device = args.device();
  const DeviceType type = device.type == DeviceType::meta ? meta_target() : device.type;
  const Math request = op_detail::requested_math(args.dtype());
  const auto usable = [&](const Row<Args>& row) {
    return row.math <= request && row.supports(args);
  };
  std::string_view wanted = op_detail::forced_row(op.name);
  const bool forced = !wanted.empty();
  if (!forced && op.tuned)
    if (const char* tuned = op.tuned(args, type)) wanted = tuned;
  const Row<Args>* chosen = nullptr;
  for (const Row<Args>& row : op.rows(type)) {
    if (!wanted.empty() && wanted == row.name && usable(row)) return &row;
    if (!forced && row.kind != RowKind::peer && usable(row)) chosen = &row;
  }
  return chosen;
}

/// As find_row(), but throws Error when there is none.
template <class Args>
const Row<Args>& choose_row(const Op<Args>& op, const Args& args) {
  if (const Row<Args>* row = find_row(op, args)) return *row;
  const Device device = args.device();
  const DeviceType type = device.type == DeviceType::meta ? meta_target() : device.type;
  op_detail::no_row(op.name, describe(args), device, op_detail::forced_row(op.name),
                    op.row_table(type));
}

/// Runs one operation: the only way a kernel is reached. On meta nothing is computed.
template <class Args>
void run(const Op<Args>& op, const Args& args) {
  const Row<Args>& row = choose_row(op, args);
  const Device device = args.device();
  const bool traced = trace_level() != TraceLevel::off;
  const std::int64_t begin = traced ? now_ns() : 0;
  if (device.type != DeviceType::meta) {
    row.calls.fetch_add(1, std::memory_order_relaxed);
    const Stream stream = current_stream(device);
    op_detail::Workspace workspace(row.workspace ? row.workspace(args) : 0, device, stream);
    row.run(args, workspace.data(), stream);
  }
  if (traced) [[unlikely]]
    trace_sink()->on_op({op.name, row.name, device, cost(args), describe(args), current_module(),
                         current_phase(), begin, now_ns(), current_step(), enclosing_phase(), &op,
                         &args});
}

}  // namespace tiller
