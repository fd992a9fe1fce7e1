#include "tools/quality/measure.h"

#include <algorithm>
#include <limits>

#include "tools/quality/neighbours.h"

namespace tiller::quality {

namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

template <class T>
std::vector<T> entries_at(const std::vector<T>& all, const std::vector<std::int64_t>& places) {
  std::vector<T> out;
  if (all.empty()) return out;
  for (const std::int64_t place : places) out.push_back(all[static_cast<std::size_t>(place)]);
  return out;
}

}  // namespace

std::vector<std::int64_t> even_places(std::int64_t total, std::int64_t count) {
  count = std::min(count, total);
  std::vector<std::int64_t> places;
  for (std::int64_t i = 0; i < count; ++i) places.push_back(i * total / count);
  return places;
}

Reference make_reference(const Tensor& features, const std::vector<std::int64_t>& labels) {
  return {features, fit_gaussian(features),
          labels.empty() ? kUnknown : spread_within(features, labels)};
}

Measurement measure(const Reference& real, const Judgement& samples,
                    const std::vector<std::int64_t>& labels, std::int64_t k) {
  Measurement row;
  row.count = samples.features.dim(0);
  row.frechet = frechet_distance(real.fit, fit_gaussian(samples.features));
  row.accuracy = labels.empty() ? kUnknown : share_right(samples.seen, labels);
  row.spread = labels.empty() ? kUnknown : spread_within(samples.features, labels) / real.spread;
  const std::int64_t most = std::min(row.count, real.features.dim(0));
  const PrecisionRecall shares =
      precision_recall(rows_at(real.features, even_places(real.features.dim(0), most)),
                       rows_at(samples.features, even_places(row.count, most)), k);
  row.precision = shares.precision;
  row.recall = shares.recall;
  return row;
}

std::vector<Measurement> measure_real(const Judgement& real,
                                      const std::vector<std::int64_t>& labels, std::int64_t most,
                                      std::int64_t k) {
  const std::int64_t half = real.features.dim(0) / 2;
  if (half <= std::max<std::int64_t>(k, 1)) return {};
  std::vector<std::int64_t> first, second;
  for (const std::int64_t place : even_places(half, most)) first.push_back(2 * place);
  for (std::int64_t i = 0; i < half; ++i) second.push_back(2 * i + 1);
  const Reference reference =
      make_reference(rows_at(real.features, second), entries_at(labels, second));
  return {measure(reference, {rows_at(real.features, first), entries_at(real.seen, first)},
                  entries_at(labels, first), k)};
}

}  // namespace tiller::quality
