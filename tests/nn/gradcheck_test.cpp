// Whole tiny networks against central differences in f64: by their input and by every parameter.
#include "autograd/gradcheck.h"

#include <numeric>

#include "tests/nn/reference.h"

namespace tiller::test {
namespace {

// Hands out given tensors in the order in which a network asks for them.
class Given final : public ParameterSource {
 public:
  explicit Given(const std::vector<Var>& inputs) : inputs_(inputs) {}
  Tensor get(const std::string&, const Shape&, const std::vector<std::int64_t>&, FileLayout,
             const Init&) override {
    return inputs_.at(++next_).value();  // after the picture
  }

 private:
  const std::vector<Var>& inputs_;
  std::size_t next_ = 0;
};

// The picture, then every parameter.
std::vector<Tensor> inputs_of(const ParameterList& parameters, std::int64_t size) {
  std::vector<Tensor> inputs = {randn({1, size, size, 3}, DType::f64, 1)};
  for (const Parameter& p : parameters.all()) inputs.push_back(p.value);
  return inputs;
}

const Tensor kTime = Tensor::from(std::vector<double>{250.5}, {1});
const Tensor kLabel = Tensor::from(std::vector<std::int64_t>{2}, {1});

double dot(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = doubles(a), y = doubles(b);
  return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
}

// sum(f(inputs) * dy), every input but the picture moved by step * direction.
double moved(const GradcheckFunction& f, const std::vector<Tensor>& inputs, const Tensor& dy,
             const std::vector<Tensor>& direction, double step) {
  const NoGrad no_recording;
  std::vector<Var> at = {inputs[0]};
  for (std::size_t i = 1; i < inputs.size(); ++i)
    at.push_back(add(inputs[i], direction[i], 1, step));
  return dot(f(at).value(), dy);
}

/// The derivative along one direction in the space of all parameters, by the backward and by
/// differences: their distance, in units of the largest gradient. The direction is each tensor's
/// own gradient and as much noise, scaled so that each tensor's share of the derivative is alike: a
/// wrong gradient of a small tensor shows like that of a large one. `only` leaves the others out.
double directional_error(const GradcheckFunction& f, const std::vector<Tensor>& inputs,
                         const std::vector<Tensor>& gradients, const Tensor& dy,
                         std::size_t only = 0) {
  const auto norm_of = [](const Tensor& t) { return std::sqrt(dot(t, t)); };
  double largest = 0;
  for (std::size_t i = 1; i < inputs.size(); ++i)
    largest = std::max(largest, norm_of(gradients[i]));
  std::vector<Tensor> direction(inputs.size());
  double analytic = 0;
  for (std::size_t i = 1; i < inputs.size(); ++i) {
    const double norm = std::max(norm_of(gradients[i]), 0.1 * largest);
    const double scale = only == 0 || only == i ? largest / norm : 0;
    const Tensor noise = randn(inputs[i].shape(), DType::f64, static_cast<unsigned>(100 + i),
                               scale / std::sqrt(static_cast<double>(inputs[i].numel())));
    direction[i] = add(gradients[i], noise, scale / norm, 1).value();
    analytic += dot(gradients[i], direction[i]);
  }
  constexpr double kStep = 1e-7;
  const double numeric =
      (moved(f, inputs, dy, direction, kStep) - moved(f, inputs, dy, direction, -kStep)) /
      (2 * kStep);
  return std::abs(analytic - numeric) / largest;
}

struct Backward {
  std::vector<Tensor> gradients;  // in the order of the inputs
  Tensor dy;
};

Backward run_backward(const GradcheckFunction& f, const std::vector<Tensor>& inputs) {
  Tape tape;
  Gradients sink;
  std::vector<Var> leaves;
  for (const Tensor& input : inputs) leaves.push_back(tape.watch(input));
  Var y;
  {
    const TapeGuard guard(tape);
    y = f(leaves);
  }
  Backward result;
  result.dy = randn(y.shape(), DType::f64, 9);
  tape.backward(y, result.dy, sink);
  for (const Tensor& input : inputs) result.gradients.push_back(sink.of(input));
  return result;
}

constexpr double kTolerance = 1e-6;

void expect_gradients(const GradcheckFunction& f, const ParameterList& parameters,
                      std::int64_t size) {
  const std::vector<Tensor> inputs = inputs_of(parameters, size);
  // The picture, element by element.
  const GradcheckReport picture = gradcheck(
      [&](const std::vector<Var>& in) {
        std::vector<Var> all = in;
        all.insert(all.end(), inputs.begin() + 1, inputs.end());
        return f(all);
      },
      {inputs[0]}, {.step = 2e-6, .tolerance = 1e-5, .max_elements = 8});
  EXPECT_TRUE(picture.passed()) << picture.text();
  // All parameters along one direction; if that fails, one by one, to say which.
  const Backward back = run_backward(f, inputs);
  const double error = directional_error(f, inputs, back.gradients, back.dy);
  EXPECT_LT(error, kTolerance);
  for (std::size_t i = 1; error >= kTolerance && i < inputs.size(); ++i)
    EXPECT_LT(directional_error(f, inputs, back.gradients, back.dy, i), kTolerance)
        << parameters.all()[i - 1].key;
  testing::Test::RecordProperty(
      "errors", fmt::format("{:.1e} picture, {:.1e} parameters", picture.worst_error(), error));
}

UNetConfig tiny_unet() {
  UNetConfig config;
  config.image_size = 4;
  config.out_channels = 6;
  config.model_channels = 32;
  config.num_res_blocks = 1;
  config.channel_mult = {1, 2};
  config.attention_downsample = {2};
  config.num_head_channels = 16;
  config.num_classes = 4;
  return config;
}

// The network as a function of the picture and its parameters. A checkpointed block runs again in
// the backward, so the networks live as long as the function.
GradcheckFunction function_of(const UNetConfig& config) {
  const Tensor low = config.super_resolution ? randn({1, 3, 2, 3}, DType::f64, 5) : Tensor();
  const auto alive = std::make_shared<std::vector<std::unique_ptr<UNet>>>();
  return [=](const std::vector<Var>& in) {
    Given given(in);
    alive->push_back(std::make_unique<UNet>(config, given));
    return (*alive->back())(in[0], kTime, kLabel, low ? Var(low) : Var());
  };
}

void check_unet(const UNetConfig& config) {
  const UNet network(config, *randomize_parameters(3, DType::f64));
  expect_gradients(function_of(config), network.parameters(), config.image_size);
}

TEST(GradcheckNetwork, UNetWithResamplingBlocks) {
  UNetConfig config = tiny_unet();
  config.resblock_updown = true;
  config.qkv_order = QkvOrder::split;
  check_unet(config);
}

TEST(GradcheckNetwork, UNetWithResamplingConvolutionsAndAddedEmbeddings) {
  UNetConfig config = tiny_unet();
  config.use_scale_shift_norm = false;
  config.use_checkpoint = true;
  check_unet(config);
}

TEST(GradcheckNetwork, SuperResolution) {
  UNetConfig config = tiny_unet();
  config.super_resolution = true;
  config.conv_resample = false;
  check_unet(config);
}

class GradcheckClassifier : public testing::TestWithParam<Pool> {};

TEST_P(GradcheckClassifier, LogProbability) {
  ClassifierConfig config;
  config.image_size = 4;
  config.num_classes = 4;
  config.model_channels = 32;
  config.num_res_blocks = 1;
  config.channel_mult = {1, 2};
  config.attention_downsample = {2};
  config.num_head_channels = 32;
  config.pool = GetParam();
  // A seed with which all 2048 units of the spatial pool stay clear of their ReLU's kink.
  const Classifier network(config, *randomize_parameters(6, DType::f64));
  expect_gradients(
      [&](const std::vector<Var>& in) {
        Given given(in);
        return cross_entropy(Classifier(config, given)(in[0], kTime), kLabel);
      },
      network.parameters(), config.image_size);
}

INSTANTIATE_TEST_SUITE_P(Pools, GradcheckClassifier,
                         testing::Values(Pool::adaptive, Pool::attention, Pool::spatial,
                                         Pool::spatial_v2),
                         [](const auto& info) { return std::string(name(info.param)); });

// The check sees one gradient among all that is off by a hundredth, be it a large or a small one.
TEST(GradcheckNetwork, NoticesOneWrongGradientAmongAll) {
  const UNetConfig config = tiny_unet();
  const UNet network(config, *randomize_parameters(3, DType::f64));
  const std::vector<Tensor> inputs = inputs_of(network.parameters(), config.image_size);
  const GradcheckFunction f = function_of(config);
  const Backward back = run_backward(f, inputs);
  for (const std::size_t i : {std::size_t{1}, inputs.size() / 2, inputs.size() - 1}) {
    std::vector<Tensor> wrong = back.gradients;
    wrong[i] = affine(wrong[i], 1.01, 0).value();
    EXPECT_GT(directional_error(f, inputs, wrong, back.dy), 10 * kTolerance)
        << network.parameters().all()[i - 1].key;
  }
}

}  // namespace
}  // namespace tiller::test
