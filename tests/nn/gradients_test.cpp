// Gradients by the input and by every parameter, against PyTorch's.
#include <algorithm>
#include <map>

#include "tests/nn/reference.h"

namespace tiller::test {
namespace {

constexpr double kTolerance = 1e-5;

double norm_of(const Tensor& t) {
  double sum = 0;
  for (const double v : doubles(t)) sum += v * v;
  return std::sqrt(sum);
}

// Of each parameter, the reference holds the gradient ("param.NAME") or its norm ("norm.NAME").
void expect_parameter_gradients(const Network& network, const Gradients& gradients,
                                const NpzReader& file) {
  double largest = 0;
  for (const auto& [leaf, gradient] : gradients.all())
    largest = std::max(largest, norm_of(gradient));
  // A bias right before a norm over its own channel has no influence: PyTorch's gradient is its
  // rounding, and so is ours.
  const double floor = 1e-6 * largest;
  std::size_t compared = 0;
  double worst = 0;
  const auto expect_below = [&](double difference, double norm) {
    EXPECT_LE(difference, kTolerance * norm + floor);
    worst = std::max(worst, difference / (norm + floor / kTolerance));
    ++compared;
  };
  for (const Parameter& p : network.parameters().all()) {
    SCOPED_TRACE(p.key);
    const Tensor ours = gradients.of(p.value);
    ASSERT_TRUE(ours.defined());
    EXPECT_EQ(ours.dtype(), DType::f32);
    if (file.contains("param." + p.key)) {
      const Tensor theirs = cast_on_host(file.read("param." + p.key), DType::f32);
      const Tensor difference = sub(to_file_layout(ours, p.file_shape, p.layout), theirs).value();
      expect_below(norm_of(difference), norm_of(theirs));
    }
    if (file.contains("norm." + p.key)) {
      const double theirs = file.read("norm." + p.key).to_vector<double>().front();
      expect_below(std::abs(norm_of(ours) - theirs), theirs);
    }
  }
  std::size_t given = 0;
  for (const ArrayInfo& array : file.arrays())
    given += array.name.starts_with("param.") || array.name.starts_with("norm.");
  EXPECT_EQ(compared, given);
  EXPECT_GE(compared, network.parameters().all().size());
  testing::Test::RecordProperty("parameters", fmt::format("{:.2e}", worst));
}

void watch_all(Tape& tape, const Network& network) {
  for (const Parameter& p : network.parameters().all()) tape.watch(p.value, p.key);
}

// A reference case and the file that holds its gradients.
struct GradientCase {
  const char* name;
  const char* file;
};
void PrintTo(const GradientCase& c, std::ostream* out) { *out << c.file; }
class Gradient : public testing::TestWithParam<GradientCase> {};

std::string case_name(const testing::TestParamInfo<GradientCase>& info) {
  std::string name = info.param.file;
  name = name.substr(0, name.size() - 4);
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

TEST_P(Gradient, IsPyTorchs) {
  const auto c = find_case(GetParam().name);
  const auto path = find_reference(GetParam().file);
  if (!c || !path) GTEST_SKIP() << kNoReference;
  const Inputs in = read_inputs(NpzReader::open(find_reference(c->name + ".npz").value()));
  const NpzReader file = NpzReader::open(*path);
  const Network network = load(*c);
  Tape tape;
  Gradients gradients;
  watch_all(tape, network);
  tape.watch(in.x, "x");
  Var loss;
  {
    const TapeGuard guard(tape);
    loss = network(in.x, in);
    if (c->is_classifier) loss = reduce_mean(cross_entropy(loss, in.y));
  }
  // UNets: sum(out * w). Classifiers: the mean cross entropy.
  tape.backward(loss, c->is_classifier ? Tensor() : read_floats(file, "w"), gradients);
  expect_parameter_gradients(network, gradients, file);
  if (file.contains("x_grad")) {
    expect_close("x_grad", gradients.of(in.x), read_floats(file, "x_grad"), kTolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(
    PyTorch, Gradient,
    testing::Values(GradientCase{"unet_plain", "unet_plain.small_grads.npz"},
                    GradientCase{"unet_cond", "unet_cond.small_grads.npz"},
                    GradientCase{"unet_plain", "unet_plain.grads.npz"},
                    GradientCase{"unet_cond", "unet_cond.grads.npz"},
                    GradientCase{"unet_64", "unet_64.grads.npz"},
                    GradientCase{"unet_heads_up", "unet_heads_up.grads.npz"},
                    GradientCase{"superres_odd", "superres_odd.npz"},
                    GradientCase{"classifier_64", "classifier_64.grads.npz"},
                    GradientCase{"classifier_adaptive", "classifier_adaptive.grads.npz"},
                    GradientCase{"classifier_attention", "classifier_attention.grads.npz"},
                    GradientCase{"classifier_spatial", "classifier_spatial.grads.npz"},
                    GradientCase{"classifier_spatial_v2", "classifier_spatial_v2.grads.npz"}),
    case_name);

// In half precision a weight's gradient still comes back in f32, near the f32 network's.
TEST(HalfGradients, ComeBackInF32) {
  const Case c = find_case("unet_cond").value();
  const Inputs in = read_inputs(NpzReader::open(find_reference("unet_cond.npz").value()));
  const Tensor w =
      read_floats(NpzReader::open(find_reference("unet_cond.small_grads.npz").value()), "w");
  std::map<std::string, Tensor> exact;
  for (const DType torso : {DType::f32, DType::f16}) {
    const Network network = load(c, torso);
    Tape tape;
    Gradients gradients;
    watch_all(tape, network);
    Var out;
    {
      const TapeGuard guard(tape);
      out = network(in.x, in);
    }
    tape.backward(out, w, gradients);
    for (const Parameter& p : network.parameters().all()) {
      const Tensor gradient = gradients.of(p.value);
      ASSERT_TRUE(gradient.defined()) << p.key;
      EXPECT_EQ(gradient.dtype(), DType::f32) << p.key;
      if (torso == DType::f32) exact[p.key] = gradient;
      // Only matrices: some biases' gradients are all cancellation.
      if (torso == DType::f16 && gradient.rank() == 4) {
        EXPECT_LE(relative_error(gradient, exact.at(p.key)), 0.02) << p.key;
      }
    }
  }
}

}  // namespace
}  // namespace tiller::test
