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

// Tensors on the CPU that share bytes as those on meta do: slices of one tensor stay slices of one,
// and what is computed in place stays in place.
template <class Args>
Args with_bytes(Args args, DType widest) {
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
      storage = stored.storage();
    }
    *t = Tensor::view(storage, t->shape(), dtype, t->offset(), t->dense() ? 0 : t->row_stride());
  }
  return args;
}

// ||a - b||^2 and ||b||^2; what is not a number on both sides agrees.
struct Difference {
  double error = 0, norm = 0;
  void add(const Tensor& a, const Tensor& b) {
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
  TypedCase(const Op<Args>& operation, Args args) : op_(operation), meta_(std::move(args)) {
    op = op_.name;
    shape = describe(meta_);
    cost = tiller::cost(meta_);
  }

  std::vector<std::string> rows() const override {
    std::vector<std::string> names;
    for (const Row<Args>& row : op_.rows(DeviceType::cpu))
      if (row.math <= op_detail::requested_math(meta_.dtype()) && row.supports(meta_))
        names.emplace_back(row.name);
    return names;
  }
  std::string default_row() const override { return choose_row(op_, meta_).name; }
  void materialise() override { args_ = with_bytes(meta_, DType::f32); }
  void release() override { args_ = {}; }
  void run(const std::string& row) override {
    const ForceRows force(op + ":" + row);
    tiller::run(op_, args_);
  }

  std::string verify(const std::string& row, const std::string& against) override {
    const bool exact = against == "reference";
    Args got = with_bytes(meta_, DType::f32);
    Args want = with_bytes(meta_, exact ? DType::f64 : DType::f32);
    run_by(row, got);
    run_by(against, want);
    const double limit = meta_.dtype() == DType::f16    ? 2e-3
                         : meta_.dtype() == DType::bf16 ? 2e-2
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

 private:
  void run_by(const std::string& row, const Args& args) {
    const ForceRows force(op + ":" + row);
    tiller::run(op_, args);
  }

  const Op<Args>& op_;
  Args meta_, args_{};
};

}  // namespace

template <class Args>
void Cases::add(const Op<Args>& op, Args args) {
  if (plain_) args = without_fusions(std::move(args));
  auto fresh = std::make_unique<TypedCase<Args>>(op, std::move(args));
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
