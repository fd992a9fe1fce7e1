#include "bench/case.h"

#include <cmath>
#include <map>
#include <random>

#include "bench/plain.h"
#include "kernels/reference.h"

namespace tiller::bench {

namespace {

void fill(const Tensor& t, unsigned seed) {
  if (!is_floating(t.dtype())) return t.fill_zero();
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  dispatch_floating(t.dtype(), [&](auto zero) {
    for (auto *value = t.data<decltype(zero)>(), *end = value + t.numel(); value != end; ++value)
      *value = static_cast<decltype(zero)>(normal(generator));
  });
}

// Tensors on a device that share bytes as those on meta do: slices of one tensor stay slices of
// one, and what is computed in place stays in place.
template <class Args>
Args with_bytes(Args args, DType widest, Device device) {
  std::map<const Storage*, std::shared_ptr<Storage>> storages;
  for (Tensor* t : tensors(args)) {
    if (!*t) continue;
    const bool widen = widest == DType::f64 && is_floating(t->dtype());
    const DType dtype = widen ? DType::f64 : t->dtype();
    const std::size_t elements = t->storage()->bytes() / size_of(t->dtype());
    std::shared_ptr<Storage>& storage = storages[t->storage().get()];
    if (!storage) {
      // Random numbers are made in the call's own dtype, so that both widths see the same values.
      const Tensor values = Tensor::empty({static_cast<std::int64_t>(elements)}, t->dtype());
      fill(values, static_cast<unsigned>(storages.size()));
      Tensor stored = values;
      if (widen) {
        stored = Tensor::empty(values.shape(), DType::f64);
        dispatch_floating(t->dtype(), [&](auto zero) {
          for (std::int64_t i = 0; i < values.numel(); ++i)
            stored.data<double>()[i] = static_cast<double>(values.data<decltype(zero)>()[i]);
        });
      }
      storage = stored.to(device).storage();
    }
    *t = Tensor::view(storage, t->shape(), dtype, t->offset(), t->dense() ? 0 : t->row_stride());
  }
  return args;
}

// ||a - b||^2 and ||b||^2; what is not a number on both sides agrees.
struct Difference {
  double error = 0, norm = 0;
  void add(const Tensor& there, const Tensor& here) {
    const Tensor a = there.to(kCpu), b = here.to(kCpu);
    dispatch_floating(a.dtype(), [&](auto x) {
      dispatch_floating(b.dtype(), [&](auto y) {
        for (std::int64_t r = 0; r < a.rows(); ++r)
          for (std::int64_t c = 0; c < a.cols(); ++c) {
            const auto p = static_cast<double>(row_of<const decltype(x)>(a, r)[c]);
            const auto q = static_cast<double>(row_of<const decltype(y)>(b, r)[c]);
            if (!std::isfinite(p) && !std::isfinite(q)) continue;
            error += (p - q) * (p - q);
            norm += q * q;
          }
      });
    });
  }
};

template <class Args>
class TypedCase final : public Case {
 public:
  TypedCase(const Op<Args>& operation, Args args, Device device)
      : op_(operation), meta_(std::move(args)), device_(device) {
    op = op_.name;
    shape = describe(meta_);
    cost = tiller::cost(meta_);
  }

  std::vector<std::string> rows() const override {
    std::vector<std::string> names;
    for (const Row<Args>& row : op_.rows(device_.type))
      if (row.math <= op_detail::requested_math(meta_.dtype()) && row.supports(meta_))
        names.emplace_back(row.name);
    return names;
  }
  RowKind kind(const std::string& row) const override { return row_of(row).kind; }
  std::string default_row() const override {
    set_meta_target(device_.type);
    return choose_row(op_, meta_).name;
  }
  void materialise() override { args_ = with_bytes(meta_, DType::f32, device_); }
  void release() override { args_ = {}; }
  void run(const std::string& row) override {
    const ForceRows force(op + ":" + row);
    tiller::run(op_, args_);
  }

  std::string verify(const std::string& row, const std::string& against) override {
    const bool exact = against == "reference";
    Args got = with_bytes(meta_, DType::f32, device_);
    Args want =
        exact ? with_bytes(meta_, DType::f64, kCpu) : with_bytes(meta_, DType::f32, device_);
    run_by(row, got);
    run_by(against, want);
    return compare(got, want, row, against);
  }

  std::string verify_twin(const std::string& row) override {
    Args got = with_bytes(meta_, DType::f32, device_);
    Args want = with_bytes(meta_, DType::f32, {DeviceType::simt, 0});
    run_by(row, got);
    run_by(row, want);
    return compare(got, want, row, "its twin on simt");
  }

 private:
  const Row<Args>& row_of(const std::string& name) const {
    for (const Row<Args>& row : op_.rows(device_.type))
      if (row.name == name) return row;
    fail(ErrorKind::usage, fmt::format("{} has no row {} on {}", op, name, to_string(device_)));
  }
  std::string compare(Args& got, Args& want, const std::string& row, const std::string& against) {
    const bool tf32 = row_of(row).math == Math::tf32;
    const double limit = meta_.dtype() == DType::f16 || tf32 ? 2e-3
                         : meta_.dtype() == DType::bf16      ? 2e-2
                                                             : 2e-5;
    const Tensors gots = tensors(got), wants = tensors(want);
    for (std::size_t i = 0; i < gots.size(); ++i) {
      if (!*gots[i] || !is_floating(gots[i]->dtype())) continue;
      Difference d;
      d.add(*gots[i], *wants[i]);
      if (!(d.error <= limit * limit * d.norm))
        return fmt::format("{} differs from {} by {:.2g} (relative) in tensor {} of {}", row,
                           against, std::sqrt(d.error / d.norm), i, shape);
    }
    return {};
  }
  void run_by(const std::string& row, const Args& args) {
    const ForceRows force(op + ":" + row);
    tiller::run(op_, args);
  }

  const Op<Args>& op_;
  Args meta_, args_{};
  Device device_;
};

}  // namespace

template <class Args>
void Cases::add(const Op<Args>& op, Args args) {
  if (plain_) args = without_fusions(std::move(args));
  if (plain_ && device_.type != DeviceType::cpu) args = without_bias(std::move(args));
  auto fresh = std::make_unique<TypedCase<Args>>(op, std::move(args), device_);
  for (const std::unique_ptr<Case>& known : cases_)
    if (known->op == fresh->op && known->shape == fresh->shape) {
      ++known->calls;
      known->users.insert(user_);
      return;
    }
  fresh->calls = 1;
  fresh->users.insert(user_);
  cases_.push_back(std::move(fresh));
}

void Cases::on_op(const OpEvent& event) {
  for_each_op([&]<class Args>(const Op<Args>& op) {
    if (&op == event.operation) add(op, *static_cast<const Args*>(event.args));
  });
}

}  // namespace tiller::bench
