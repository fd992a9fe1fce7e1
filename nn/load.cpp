// Parameters from a checkpoint.
#include <cmath>
#include <set>

#include "nn/mismatch.h"
#include "nn/scope.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {
// Elements that are NaN or infinite. The whole tensor is in memory anyway: one more pass over it.
std::int64_t count_not_finite(const Tensor& t) {
  constexpr std::int64_t kChunk = 1 << 16;
  const std::int64_t chunks = (t.numel() + kChunk - 1) / kChunk;
  std::vector<std::int64_t> counts(static_cast<std::size_t>(chunks));
  const auto scan = [&](const auto* values) {
    launch("count_not_finite", chunks, [&](std::int64_t c) {
      const std::int64_t end = std::min(t.numel(), (c + 1) * kChunk);
      std::int64_t bad = 0;
      for (std::int64_t i = c * kChunk; i < end; ++i) bad += !std::isfinite(values[i]);
      counts[static_cast<std::size_t>(c)] = bad;
    });
  };
  if (t.dtype() == DType::f64)
    scan(t.data<double>());
  else
    scan(t.data<float>());
  std::int64_t total = 0;
  for (const std::int64_t count : counts) total += count;
  return total;
}

class Loaded final : public ParameterSource {
 public:
  Loaded(const Checkpoint& checkpoint, DType dtype, Device device)
      : checkpoint_(checkpoint), dtype_(dtype), device_(device) {
    TILLER_CHECK(dtype == DType::f32 || dtype == DType::f64,
                 "parameters are kept in f32 (or f64 to check gradients), not in {}", name(dtype));
    if (checkpoint.content() == FileContent::optimizer)
      fail(ErrorKind::checkpoint,
           fmt::format("{}: this is an optimizer's state, not a network's weights; the weights lie "
                       "beside it (model*.pt, ema_*.pt)",
                       checkpoint.path()));
  }

  Tensor get(const std::string& key, const Shape& shape,
             const std::vector<std::int64_t>& file_shape, FileLayout layout, const Init&) override {
    wanted_.push_back({key, file_shape});
    const FileTensor* found = checkpoint_.find(key);
    // finish() will report what does not fit; until then shapes are all that is needed.
    fits_ = fits_ && found && found->shape == file_shape;
    if (!fits_ || device_.type == DeviceType::meta) return Tensor::empty(shape, dtype_, kMeta);
    if (!is_floating(found->dtype))
      fail(ErrorKind::checkpoint, fmt::format("{}: {} holds {}, not floating-point numbers",
                                              checkpoint_.path(), key, name(found->dtype)));
    const Tensor in_file = checkpoint_.read(*found);
    Tensor value = in_file.dtype() == dtype_ ? in_file : cast_on_host(in_file, dtype_);
    value = from_file_layout(value, shape, layout);
    if (value.storage()->borrowed() || value.storage() == in_file.storage())
      value = value.clone();  // optimizers write parameters; the file must not change
    if (const std::int64_t bad = count_not_finite(value)) {
      damaged_.push_back(key);
      damaged_values_ += bad;
    }
    return value.to(device_);
  }

  void finish() override {
    std::set<std::string> names;
    for (const NamedShape& parameter : wanted_) names.insert(parameter.name);
    for (const FileTensor& tensor : checkpoint_.tensors())
      fits_ = fits_ && names.contains(tensor.name);
    if (!fits_) {
      const std::string& path = checkpoint_.path();
      fail(ErrorKind::checkpoint,
           fmt::format("{}{}", path.empty() ? "" : path + ": ",
                       explain_mismatch(wanted_, named_shapes(checkpoint_))));
    }
    if (!damaged_.empty())
      warnings_.push_back(fmt::format(
          "{}: {} NaN or infinite values in {} of {} tensors, first in {}: "
          "this training diverged or the file is damaged",
          checkpoint_.path(), damaged_values_, damaged_.size(), wanted_.size(), damaged_.front()));
  }

  const std::vector<std::string>& warnings() const override { return warnings_; }

 private:
  Checkpoint checkpoint_;
  DType dtype_;
  Device device_;
  bool fits_ = true;
  std::vector<NamedShape> wanted_;
  std::vector<std::string> damaged_, warnings_;
  std::int64_t damaged_values_ = 0;
};
}  // namespace

std::unique_ptr<ParameterSource> load_parameters(const Checkpoint& checkpoint, DType dtype,
                                                 Device device) {
  return std::make_unique<Loaded>(checkpoint, dtype, device);
}

}  // namespace tiller
