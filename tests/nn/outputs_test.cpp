// The networks' outputs, every block's output, and half precision, against PyTorch's numbers.
#include <map>

#include "nn/module.h"
#include "tests/nn/reference.h"

namespace tiller::test {
namespace {

// A network within 1e-4 of PyTorch's is the contract; f32 rounding alone is a few 1e-6.
constexpr double kTolerance = 1e-5;

// Parameterised by the name of a reference case.
class Outputs : public testing::TestWithParam<const char*> {};
class Activations : public testing::TestWithParam<const char*> {};
class Halves : public testing::TestWithParam<const char*> {};

std::string case_name(const testing::TestParamInfo<const char*>& info) { return info.param; }

TEST_P(Outputs, ArePyTorchs) {
  const auto c = find_case(GetParam());
  if (!c) GTEST_SKIP() << kNoReference;
  const NpzReader file = NpzReader::open(find_reference(c->name + ".npz").value());
  const Inputs in = read_inputs(file);
  const Network network = load(*c);
  if (network.unet) {
    const Tensor out = network(in.x, in).value();
    EXPECT_EQ(out.dtype(), DType::f32);
    expect_close("out", out, read_floats(file, "out"), kTolerance);
    return;
  }
  Tensor logits;
  const Tensor gradient = network.classifier->log_prob_gradient(in.x, in.t, in.y, &logits);
  expect_close("logits", logits, read_floats(file, "logits"), kTolerance);
  expect_close("grad", gradient, read_floats(file, "grad"), kTolerance);
  EXPECT_EQ(doubles(network(in.x, in).value()), doubles(logits));  // recording changes nothing
}

INSTANTIATE_TEST_SUITE_P(PyTorch, Outputs,
                         testing::Values("unet_plain", "unet_cond", "unet_64", "unet_heads_up",
                                         "unet_fraction", "superres_64", "superres_odd",
                                         "classifier_64", "classifier_adaptive",
                                         "classifier_attention", "classifier_spatial",
                                         "classifier_spatial_v2"),
                         case_name);

// Keeps every module's output by its path.
class Recorder final : public ActivationObserver {
 public:
  Recorder() : previous_(activation_observer()) { activation_observer() = this; }
  ~Recorder() override { activation_observer() = previous_; }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  void on_output(const std::string& path, const Tensor& output) override {
    EXPECT_TRUE(outputs.emplace(path, output).second) << path << " ran twice";
  }
  std::map<std::string, Tensor> outputs;

 private:
  ActivationObserver* previous_;
};

TEST_P(Activations, OfEveryBlockArePyTorchsByTheirPath) {
  const auto c = find_case(GetParam());
  const auto activations = find_reference(std::string(GetParam()) + ".activations.npz");
  if (!c || !activations) GTEST_SKIP() << kNoReference;
  const Network network = load(*c);
  Recorder recorder;
  const Inputs in = read_inputs(NpzReader::open(find_reference(c->name + ".npz").value()));
  network(in.x, in);
  const NpzReader file = NpzReader::open(*activations);
  EXPECT_GE(file.arrays().size(), 26u);
  for (const ArrayInfo& array : file.arrays()) {
    SCOPED_TRACE(array.name);
    ASSERT_TRUE(recorder.outputs.contains(array.name));
    expect_close(array.name, recorder.outputs.at(array.name), read_floats(file, array.name),
                 kTolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(PyTorch, Activations, testing::Values("unet_plain", "unet_cond"),
                         case_name);

// PyTorch's half rounds after every operation. Both are compared with PyTorch's f32: ours may be at
// most twice as far from it, and must not be f32 in disguise.
TEST_P(Halves, AreAtMostTwiceAsFarOffAsPyTorchs) {
  const auto c = find_case(GetParam());
  if (!c) GTEST_SKIP() << kNoReference;
  const NpzReader exact = NpzReader::open(find_reference(c->name + ".npz").value());
  const NpzReader half = NpzReader::open(find_reference(c->name + ".fp16.npz").value());
  const Inputs in = read_inputs(half);
  const Network network = load(*c, DType::f16);
  std::map<std::string, Tensor> results;
  if (network.unet)
    results["out"] = network(in.x, in).value();
  else
    results["grad"] = network.classifier->log_prob_gradient(in.x, in.t, in.y, &results["logits"]);
  for (const auto& [name, result] : results) {
    SCOPED_TRACE(name);
    EXPECT_EQ(result.dtype(), DType::f32);
    const Tensor truth = read_floats(exact, name);
    const double theirs = relative_error(read_floats(half, name), truth);
    const double ours = relative_error(result, truth);
    EXPECT_LE(ours, 2 * theirs);
    EXPECT_GT(ours, 1e-5);
    RecordProperty(name, fmt::format("{:.2e}, PyTorch {:.2e}", ours, theirs));
  }
}

INSTANTIATE_TEST_SUITE_P(PyTorch, Halves,
                         testing::Values("unet_plain", "unet_cond", "unet_64",
                                         "classifier_attention", "classifier_64"),
                         case_name);

// bf16 has three bits less than f16: eight times its rounding.
TEST(Halves, BrainFloatIsAsFarOffAsItsBitsSay) {
  const Case c = find_case("unet_cond").value();
  const NpzReader file = NpzReader::open(find_reference("unet_cond.npz").value());
  const Inputs in = read_inputs(file);
  const Tensor truth = read_floats(file, "out");
  const double half = relative_error(load(c, DType::f16)(in.x, in).value(), truth);
  const double brain = relative_error(load(c, DType::bf16)(in.x, in).value(), truth);
  EXPECT_GT(brain, 4 * half);
  EXPECT_LT(brain, 16 * half);
}

TEST(Outputs, DoublePrecisionAgrees) {
  for (const char* name : {"unet_plain", "classifier_attention"}) {
    const Case c = find_case(name).value();
    const NpzReader file = NpzReader::open(find_reference(c.name + ".npz").value());
    const Inputs in = read_inputs(file);
    const Network network = load(c, DType::f32, {}, DType::f64);
    const Tensor out = network(cast_on_host(in.x, DType::f64), in).value();
    EXPECT_EQ(out.dtype(), DType::f64);
    EXPECT_LE(relative_error(out, read_floats(file, c.is_classifier ? "logits" : "out")), 2e-6);
  }
}

// A picture's result does not depend on its neighbours in the batch, nor on when embed() was called.
TEST(Outputs, SamplesAreIndependentAndEmbeddingsStandApart) {
  const Case c = find_case("unet_cond").value();
  const Inputs in = read_inputs(NpzReader::open(find_reference("unet_cond.npz").value()));
  const Network network = load(c);
  const Tensor all = network(in.x, in).value();
  const Tensor emb = network.unet->embed(in.t, in.y).value();
  for (std::int64_t i = 0; i < in.x.dim(0); ++i) {
    const Tensor one =
        network.unet->forward(in.x.slice(i, i + 1), Var(emb.slice(i, i + 1))).value();
    EXPECT_LE(relative_error(one, all.slice(i, i + 1)), 1e-6);
  }
}

// What all emb_layers make of an embedding can be made ahead, side by side, in any network.
TEST(Outputs, EmbeddingsOfAllBlocksStandApart) {
  for (const char* name : {"unet_cond", "unet_plain", "classifier_attention"}) {
    SCOPED_TRACE(name);
    const Case c = find_case(name).value();
    const Inputs in = read_inputs(NpzReader::open(find_reference(c.name + ".npz").value()));
    const Network network = load(c);
    const auto expect_same = [&](const auto& net, const Var& emb) {
      const Tensor blocks = net.embed_blocks(emb);
      EXPECT_EQ(blocks.shape(), (Shape{in.x.dim(0), net.block_features()}));
      EXPECT_EQ(net.forward(in.x, Embedded::of_blocks(blocks)).value().template to_vector<float>(),
                net.forward(in.x, emb).value().template to_vector<float>());
    };
    if (network.classifier)
      expect_same(*network.classifier, network.classifier->embed(in.t));
    else
      expect_same(*network.unet, network.unet->embed(in.t, in.y));
  }
}

}  // namespace
}  // namespace tiller::test
