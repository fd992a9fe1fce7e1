// Parameters from a checkpoint.
#include <numeric>
#include <optional>
#include <set>

#include "nn/frozen.h"
#include "nn/mismatch.h"
#include "nn/scope.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {
// Elements whose exponent has all its bits: NaN and infinity.
template <class Bits>
std::int64_t count_special(const void* values, std::int64_t n, Bits exponent) {
  constexpr std::int64_t kChunk = 1 << 16;
  const auto* bits = static_cast<const Bits*>(values);
  const std::int64_t chunks = (n + kChunk - 1) / kChunk;
  std::vector<std::int64_t> counts(static_cast<std::size_t>(chunks));
  launch("count_not_finite", chunks, [&](std::int64_t c) {
    const std::int64_t end = std::min(n, (c + 1) * kChunk);
    Bits bad = 0;  // at most kChunk, or 1 where that does not fit
    for (std::int64_t i = c * kChunk; i < end; ++i)
      bad = static_cast<Bits>(sizeof(Bits) < 4 ? bad | ((bits[i] & exponent) == exponent)
                                               : bad + ((bits[i] & exponent) == exponent));
    if (sizeof(Bits) < 4 && bad) {
      std::int64_t exact = 0;
      for (std::int64_t i = c * kChunk; i < end; ++i) exact += (bits[i] & exponent) == exponent;
      counts[static_cast<std::size_t>(c)] = exact;
    } else {
      counts[static_cast<std::size_t>(c)] = static_cast<std::int64_t>(bad);
    }
  });
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

std::int64_t count_not_finite(const Tensor& t) {
  switch (t.dtype()) {
    case DType::f64:
      return count_special<std::uint64_t>(t.raw(), t.numel(), 0x7FF0000000000000u);
    case DType::f16:
      return count_special<std::uint16_t>(t.raw(), t.numel(), 0x7C00u);
    case DType::bf16:
      return count_special<std::uint16_t>(t.raw(), t.numel(), 0x7F80u);
    default:
      return count_special<std::uint32_t>(t.raw(), t.numel(), 0x7F800000u);
  }
}

class Loaded final : public ParameterSource {
 public:
  Loaded(const Checkpoint& checkpoint, DType dtype, Device device,
         std::optional<FrozenWeights> frozen)
      : checkpoint_(checkpoint), dtype_(dtype), device_(device), frozen_(frozen) {
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
    if (frozen_ && shape.rank() > 1 && in_file.dtype() != DType::f64) {
      note_damage(key, in_file);
      if (*frozen_ == FrozenWeights::as_stored || in_file.dtype() != DType::f32)
        return frozen_parameter(in_file, shape, layout);
      const Tensor rounded = rounded_to_bf16(in_file);
      checkpoint_.forget(*found);
      return frozen_parameter(rounded, shape, layout);
    }
    Tensor value = in_file.dtype() == dtype_ ? in_file : cast_on_host(in_file, dtype_);
    value = from_file_layout(value, shape, layout);
    if (value.storage()->borrowed() || value.storage() == in_file.storage())
      value = value.clone();  // optimizers write parameters; the file must not change
    checkpoint_.forget(*found);
    note_damage(key, value);
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
  void note_damage(const std::string& key, const Tensor& value) {
    const std::int64_t bad = count_not_finite(value);
    if (bad > 0) damaged_.push_back(key);
    damaged_values_ += bad;
  }

  Checkpoint checkpoint_;
  DType dtype_;
  Device device_;
  std::optional<FrozenWeights> frozen_;  // none: copies that may be written
  bool fits_ = true;
  std::vector<NamedShape> wanted_;
  std::vector<std::string> damaged_, warnings_;
  std::int64_t damaged_values_ = 0;
};
}  // namespace

std::unique_ptr<ParameterSource> load_parameters(const Checkpoint& checkpoint, DType dtype,
                                                 Device device) {
  return std::make_unique<Loaded>(checkpoint, dtype, device, std::nullopt);
}

std::unique_ptr<ParameterSource> freeze_parameters(const Checkpoint& checkpoint,
                                                   FrozenWeights weights, Device device) {
  std::optional<FrozenWeights> frozen;
  if (device.type == DeviceType::cpu) frozen = weights;
  return std::make_unique<Loaded>(checkpoint, DType::f32, device, frozen);
}

}  // namespace tiller
