#pragma once
// One call of one operation, as a network makes it: collected on meta, where it has shapes and no
// bytes, and given bytes when it is measured.
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "bench/ops.h"

namespace tiller::bench {

/// A call without its argument type.
class Case {
 public:
  virtual ~Case() = default;
  /// Names of the device's rows that support the call in study order, peers included.
  virtual std::vector<std::string> rows() const = 0;
  virtual RowKind kind(const std::string& row) const = 0;
  /// The row that run() would choose.
  virtual std::string default_row() const = 0;
  /// Gives the call bytes: random floats, zero integers. The same values every time.
  virtual void materialise() = 0;
  virtual void release() = 0;
  /// Runs a materialised call once by the row of that name.
  virtual void run(const std::string& row) = 0;
  /// "" when the row agrees with `against` on these arguments, else what is wrong. The reference
  /// row computes in f64, on the CPU.
  virtual std::string verify(const std::string& row, const std::string& against) = 0;
  /// As verify(), against the same row on simt.
  virtual std::string verify_twin(const std::string& row) = 0;

  std::string op, shape;
  Cost cost;
  int calls = 0;                ///< in one pass of every network that was asked for
  std::set<std::string> users;  ///< "64x64_diffusion forward"
};

/// Collects distinct calls from a trace.
class Cases final : public TraceSink {
 public:
  /// `plain`: convolutions and linear layers lose what is fused to them (second source, residual,
  /// skip convolution, statistics, up-sampling, SiLU; not on the CPU: bias), so that other
  /// libraries can be held against them.
  explicit Cases(bool plain, Device device = kCpu) : plain_(plain), device_(device) {}
  void on_op(const OpEvent& event) override;
  void set_user(const std::string& user) { user_ = user; }
  const std::vector<std::unique_ptr<Case>>& all() const { return cases_; }

 private:
  template <class Args>
  void add(const Op<Args>& op, Args args);
  bool plain_;
  Device device_;
  std::string user_;
  std::vector<std::unique_ptr<Case>> cases_;
};

}  // namespace tiller::bench
