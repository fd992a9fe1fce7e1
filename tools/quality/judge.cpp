#include "tools/quality/judge.h"

#include <algorithm>

#include "tools/data/crop.h"
#include "tools/pictures/pixels.h"

namespace tiller::quality {

namespace {
constexpr std::int64_t kBatch = 64;
}

Judgement judge(const Classifier& classifier, const Tensor& pixels, const OnPictures& done) {
  const NoGrad no_recording;
  const Device device = classifier.parameters().all().front().value.device();
  const std::int64_t n = pixels.dim(0);
  Judgement out;
  for (std::int64_t first = 0; first < n; first += kBatch) {
    const std::int64_t end = std::min(n, first + kBatch);
    const Tensor x = from_pixels(pixels.slice(first, end)).to(device);
    const Tensor t = Tensor::zeros({end - first}).to(device);
    const Classifier::Reading reading = classifier.read(x, t);
    const Tensor features = reading.features.value().to(kCpu);
    if (!out.features) out.features = Tensor::empty({n, features.dim(1)});
    out.features.slice(first, end).copy_from(features);
    const std::vector<float> logits = reading.logits.value().to(kCpu).to_vector<float>();  // [N,K]
    const std::int64_t classes = reading.logits.dim(1);
    for (std::int64_t i = 0; i < end - first; ++i) {
      const auto row = logits.begin() + i * classes;
      out.seen.push_back(std::max_element(row, row + classes) - row);
    }
    if (done) done(end);
  }
  return out;
}

double share_right(const std::vector<std::int64_t>& seen, const std::vector<std::int64_t>& labels) {
  TILLER_CHECK(!seen.empty() && seen.size() == labels.size(), "{} pictures with {} labels",
               seen.size(), labels.size());
  std::int64_t right = 0;
  for (std::size_t i = 0; i < seen.size(); ++i) right += seen[i] == labels[i] ? 1 : 0;
  return static_cast<double>(right) / static_cast<double>(seen.size());
}

std::vector<std::int64_t> labels_in_turn(std::int64_t n, std::int64_t num_classes) {
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < n; ++i) labels.push_back(i % num_classes);
  return labels;
}

Tensor all_pictures(const Dataset& data, std::int64_t side, const OnPictures& done) {
  const Tensor out = Tensor::empty({data.size(), side, side, data.channels()}, DType::u8);
  for (std::int64_t i = 0; i < data.size(); ++i) {
    out.slice(i, i + 1).copy_from(
        center_crop(data.picture(i), side).reshape({1, side, side, data.channels()}));
    if (done) done(i + 1);
  }
  return out;
}

Tensor rows_at(const Tensor& x, const std::vector<std::int64_t>& places) {
  const Tensor out =
      Tensor::empty(x.shape().with(0, static_cast<std::int64_t>(places.size())), x.dtype());
  for (std::size_t i = 0; i < places.size(); ++i) {
    const auto to = static_cast<std::int64_t>(i);
    out.slice(to, to + 1).copy_from(x.slice(places[i], places[i] + 1));
  }
  return out;
}

}  // namespace tiller::quality
