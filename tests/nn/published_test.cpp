// The fifteen published networks, planned on meta: whether their names and shapes are PyTorch's,
// whether every call of theirs has a fast row, and what a step of them costs.
#include <map>

#include "kernels/registry.h"
#include "nn/published.h"
#include "tests/nn/reference.h"

namespace tiller::test {
namespace {

std::vector<KnownModel> published() {
  const std::span<const KnownModel> known = known_models();
  return {known.begin(), known.begin() + 15};  // guided-diffusion's stand first
}

Network planned(const KnownModel& model, DType torso) {
  const auto source = list_parameters();
  Network network;
  if (model.kind == NetworkKind::classifier) {
    ClassifierConfig config = classifier_config(model);
    config.torso = torso;
    network.classifier = std::make_unique<Classifier>(config, *source);
  } else {
    UNetConfig config = unet_config(model);
    config.torso = torso;
    network.unet = std::make_unique<UNet>(config, *source);
  }
  return network;
}

Inputs inputs_of(const KnownModel& model, std::int64_t n) {
  Inputs in;
  const std::int64_t size = model.image_size;
  in.x = Tensor::empty({n, size, size, 3}, DType::f32, kMeta);
  in.t = Tensor::empty({n}, DType::f32, kMeta);
  if (model.class_cond || model.kind == NetworkKind::classifier)
    in.y = Tensor::empty({n}, DType::i64, kMeta);
  if (model.kind == NetworkKind::super_resolution)
    in.low_res = Tensor::empty({n, size / 4, size / 4, 3}, DType::f32, kMeta);
  return in;
}

/// What one step asks of a network: a UNet's output, or a classifier's gradient by its input.
void step(const Network& network, const Inputs& in) {
  if (network.unet)
    network(in.x, in);
  else
    network.classifier->log_prob_gradient(in.x, in.t, in.y);
}

/// A step of training: forward, and backward to every parameter.
void training_step(const Network& network, const Inputs& in) {
  Tape tape;
  Gradients gradients;
  for (const Parameter& p : network.parameters().all()) tape.watch(p.value, p.key);
  Var out;
  {
    const TapeGuard guard(tape);
    out = network(in.x, in);
    if (network.classifier) out = reduce_mean(cross_entropy(out, in.y));
  }
  tape.backward(out, {}, gradients);
  for (const Parameter& p : network.parameters().all())
    EXPECT_EQ(gradients.of(p.value).shape(), p.value.shape()) << p.key;
}

/// A run on meta pretends to choose rows of another device.
class TargetGuard {
 public:
  explicit TargetGuard(DeviceType type) : before_(meta_target()) { set_meta_target(type); }
  ~TargetGuard() { set_meta_target(before_); }
  TargetGuard(const TargetGuard&) = delete;
  TargetGuard& operator=(const TargetGuard&) = delete;

 private:
  DeviceType before_;
};

/// Adds up what runs.
class Meter final : public TraceSink {
 public:
  void on_op(const OpEvent& event) override {
    ++ops;
    cost += event.cost;
    const std::string op = event.op;
    products[op] += event.cost.flops;
    slow.insert(kind_of(op, event.row) == RowKind::fast
                    ? ""
                    : fmt::format("{}:{} {} in {}", op, event.row, event.shape, event.module));
    slow.erase("");
    // Tensor cores or nothing, for halves: the rows before v3_mma are there to be studied.
    const std::string row = event.row, shape = event.shape;
    const bool product = op.starts_with("conv2d") || op.starts_with("linear");
    if (product && shape.find("f16[") != std::string::npos && !row.starts_with("v3_mma") &&
        !row.starts_with("v4_split_k"))
      plain_halves.insert(fmt::format("{}:{} {} in {}", op, row, shape, event.module));
    if (row.starts_with("v4_split_k")) ++split_sums;
  }
  /// Flops of the matrix products: what people count as a network's multiply-adds, times two.
  double product_flops() const {
    double sum = 0;
    for (const auto& [op, flops] : products)
      if (op.starts_with("conv2d") || op.starts_with("linear") || op.starts_with("attention"))
        sum += flops;
    return sum;
  }
  int ops = 0;
  Cost cost;
  std::map<std::string, double> products;
  std::set<std::string> slow;          ///< calls that landed on a reference, study or peer row
  std::set<std::string> plain_halves;  ///< products of halves that are none of a tensor core
  int split_sums = 0;

 private:
  static RowKind kind_of(const std::string& op, const std::string& row) {
    for (const OpBase* base : all_ops())
      if (op == base->name)
        for (const RowInfo& info : base->row_table(meta_target()))
          if (row == info.name) return info.kind;
    ADD_FAILURE() << "no row " << op << ":" << row << " on " << name(meta_target());
    return RowKind::reference;
  }
};

template <class F>
Meter measure(const F& f) {
  Meter meter;
  const TraceGuard guard(meter, TraceLevel::ops);
  f();
  return meter;
}

// In the contract's words: a fusion that no fast row supports is lowered to plain calls, never to a
// slow row.
TEST(Published, EveryCallOfEveryModelHasAFastRow) {
  for (const KnownModel& model : published())
    for (const DType torso : {DType::f32, DType::f16, DType::bf16}) {
      SCOPED_TRACE(fmt::format("{} {}", model.name, name(torso)));
      const Network network = planned(model, torso);
      for (const std::int64_t n : {1, 4}) {
        const Meter meter = measure([&] { step(network, inputs_of(model, n)); });
        EXPECT_GT(meter.ops, 100);
        EXPECT_EQ(meter.slow, std::set<std::string>());
      }
      const Meter training = measure([&] { training_step(network, inputs_of(model, 2)); });
      EXPECT_GT(training.product_flops(), 0);
      EXPECT_EQ(training.slow, std::set<std::string>());
    }
}

// The walk above sees what it looks for: a forced reference row is noticed.
TEST(Published, TheWalkNoticesASlowRow) {
  const KnownModel model = published().front();
  const Network network = planned(model, DType::f32);
  const ForceRows force("attention_fwd:reference");
  const Meter meter = measure([&] { step(network, inputs_of(model, 1)); });
  EXPECT_FALSE(meter.slow.empty());
}

// The same walk for a GPU: every product of halves is a tensor core's, and none lands on the
// naive or tiled rows.
TEST(Published, EveryHalfProductIsATensorCores) {
  if (!available({DeviceType::simt, 0})) GTEST_SKIP() << "this build has no simt";
  const TargetGuard target(DeviceType::simt);
  for (const KnownModel& model : published())
    for (const DType torso : {DType::f16, DType::bf16}) {
      SCOPED_TRACE(fmt::format("{} {}", model.name, name(torso)));
      const Network network = planned(model, torso);
      for (const std::int64_t n : {1, 16}) {
        const Meter meter = measure([&] { step(network, inputs_of(model, n)); });
        EXPECT_EQ(meter.plain_halves, std::set<std::string>());
        // Small maps of a single picture share their sums among blocks.
        if (n == 1) {
          EXPECT_GT(meter.split_sums, 20);
        }
      }
      const Meter training = measure([&] { training_step(network, inputs_of(model, 2)); });
      EXPECT_EQ(training.plain_halves, std::set<std::string>());
    }
}

// The walk sees what it looks for.
TEST(Published, TheWalkNoticesAHalfThatIsNoTensorCores) {
  if (!available({DeviceType::simt, 0})) GTEST_SKIP() << "this build has no simt";
  const TargetGuard target(DeviceType::simt);
  const KnownModel model = published().front();
  const Network network = planned(model, DType::f16);
  const ForceRows force("conv2d_fwd:v2_tiled");
  const Meter meter = measure([&] { step(network, inputs_of(model, 1)); });
  EXPECT_GT(meter.plain_halves.size(), 20u);
}

// What a step at batch 1 costs with an f16 torso: for UNets one forward, for classifiers forward and
// input gradient. `operations` and `megabytes` (every distinct element of each operation's arguments,
// once) are budgets: planned with the rows as they are, a change may lower them and must say so
// here. The products' GFLOP are not ours: they were counted on PyTorch's own modules, multiply-adds
// times two, with five products in an attention's backward; ours add biases, residuals and the
// softmax, less than half a percent.
struct Budget {
  const char* model;
  int operations;
  double gigaflops;
  double megabytes;
};
constexpr Budget kBudgets[] = {
    {"64x64_diffusion", 280, 219.36, 1570},
    {"128x128_diffusion", 252, 613.86, 2706},
    {"256x256_diffusion", 288, 2239.67, 5958},
    {"256x256_diffusion_uncond", 287, 2239.67, 5958},
    {"512x512_diffusion", 324, 3964.67, 11374},
    {"64_256_upsampler", 290, 1263.28, 4058},
    {"128_512_upsampler", 270, 5009.57, 12277},
    {"lsun_bedroom", 287, 2239.67, 5958},
    {"lsun_cat", 287, 2239.67, 5958},
    {"lsun_horse", 287, 2239.67, 5958},
    {"lsun_horse_nodropout", 287, 2239.67, 5958},
    {"64x64_classifier", 362, 38.16 + 45.3, 790},
    {"128x128_classifier", 260, 42.08 + 45.6, 728},
    {"256x256_classifier", 291, 146.70 + 150.4, 1851},
    {"512x512_classifier", 324, 225.53 + 229.2, 3725},
};

TEST(Published, AStepStaysWithinItsBudget) {
  const std::vector<KnownModel> models = published();
  ASSERT_EQ(std::size(kBudgets), models.size());
  for (std::size_t i = 0; i < models.size(); ++i) {
    const KnownModel& model = models[i];
    const Budget& budget = kBudgets[i];
    SCOPED_TRACE(model.name);
    EXPECT_STREQ(model.name, budget.model);
    const Network network = planned(model, DType::f16);
    const Meter meter = measure([&] { step(network, inputs_of(model, 1)); });
    EXPECT_LE(meter.ops, budget.operations);
    const double gigaflops = meter.product_flops() / 1e9;
    EXPECT_NEAR(gigaflops, budget.gigaflops, 0.004 * budget.gigaflops);
    EXPECT_GT(gigaflops, budget.gigaflops);
    EXPECT_LE((meter.cost.bytes_read + meter.cost.bytes_written) / 1e6, budget.megabytes);
    // Everything that is no product together is little arithmetic.
    EXPECT_LT(meter.cost.flops, 1.02 * meter.product_flops());
    if (network.unet) continue;
    for (const auto& [op, flops] : meter.products)
      EXPECT_EQ(op.find("wgrad"), std::string::npos) << "guidance needs no weight gradient";
    EXPECT_EQ(meter.products.count("embedding_bwd"), 0u);
  }
}

// What the tape of a forward keeps for the backward.
std::size_t kept_bytes(const Network& network, const Inputs& in, bool parameters) {
  Tape tape;
  if (parameters)
    for (const Parameter& p : network.parameters().all()) tape.watch(p.value, p.key);
  tape.watch(in.x, "x");
  const TapeGuard guard(tape);
  network(in.x, in);
  return tape.saved_bytes();
}

// The numbers of autograd/README.md: a picture's gradient keeps less than training does.
TEST(Published, GuidanceKeepsTwoThirdsOfWhatTrainingKeeps) {
  const KnownModel model = published()[11];
  ASSERT_STREQ(model.name, "64x64_classifier");
  const Network network = planned(model, DType::f32);
  const Inputs in = inputs_of(model, 1);
  EXPECT_NEAR(static_cast<double>(kept_bytes(network, in, false)) / (1 << 20), 63.4, 0.05);
  EXPECT_NEAR(static_cast<double>(kept_bytes(network, in, true)) / (1 << 20), 99.1, 0.05);
}

// Batch, picture size and nothing else: twice the pictures are twice the products.
TEST(Published, CostsGrowWithTheBatch) {
  const KnownModel model = published().front();
  const Network network = planned(model, DType::f16);
  const Meter one = measure([&] { step(network, inputs_of(model, 1)); });
  const Meter four = measure([&] { step(network, inputs_of(model, 4)); });
  EXPECT_EQ(four.ops, one.ops);
  EXPECT_DOUBLE_EQ(four.product_flops(), 4 * one.product_flops());
  EXPECT_LT(four.cost.bytes_read, 4 * one.cost.bytes_read);  // the weights are read once
}

std::vector<NamedShape> listed(const Network& network) {
  std::vector<NamedShape> shapes;
  for (const Parameter& p : network.parameters().all()) shapes.push_back({p.key, p.file_shape});
  return shapes;
}

/// FNV-1a of all names and shapes, in order.
std::uint64_t fingerprint(const std::vector<NamedShape>& shapes) {
  std::uint64_t hash = 14695981039346656037u;
  for (const NamedShape& tensor : shapes)
    for (const char c : fmt::format("{} {}\n", tensor.name,
                                    to_string(std::span<const std::int64_t>(tensor.shape))))
      hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

// The state dicts of OpenAI's files, summed up; the next test compares them name by name.
struct Listing {
  const char* model;
  std::size_t tensors;
  std::int64_t parameters;
  std::uint64_t hash;
};
constexpr Listing kListings[] = {
    {"64x64_diffusion", 541, 295904454, 0x787fc3169d648d86u},
    {"128x128_diffusion", 493, 421529606, 0xf07b87c72f755061u},
    {"256x256_diffusion", 567, 553838086, 0xb275585ecc0e1fbeu},
    {"256x256_diffusion_uncond", 566, 552814086, 0x7200332239c112c1u},
    {"512x512_diffusion", 645, 558997638, 0xeb62cc1c9f826f40u},
    {"64_256_upsampler", 567, 311795910, 0x264c723333d9883cu},
    {"128_512_upsampler", 537, 308835270, 0xbd76aa4f80e87dedu},
    {"lsun_bedroom", 566, 552814086, 0x7200332239c112c1u},
    {"lsun_cat", 566, 552814086, 0x7200332239c112c1u},
    {"lsun_horse", 566, 552814086, 0x7200332239c112c1u},
    {"lsun_horse_nodropout", 566, 552814086, 0x7200332239c112c1u},
    {"64x64_classifier", 307, 65438568, 0x2242e12e0c2ddc23u},
    {"128x128_classifier", 221, 42568040, 0xf7ebcfc09c368ddeu},
    {"256x256_classifier", 249, 54096360, 0xe7004aaf2bd21b05u},
    {"512x512_classifier", 281, 54448360, 0x045000b8a4e66c78u},
};

TEST(Published, NamesAndShapesAreOpenAIs) {
  const std::vector<KnownModel> models = published();
  ASSERT_EQ(std::size(kListings), models.size());
  for (std::size_t i = 0; i < models.size(); ++i) {
    SCOPED_TRACE(models[i].name);
    const Network network = planned(models[i], DType::f32);
    const std::vector<NamedShape> ours = listed(network);
    EXPECT_STREQ(kListings[i].model, models[i].name);
    EXPECT_EQ(ours.size(), kListings[i].tensors);
    EXPECT_EQ(network.parameters().numel(), kListings[i].parameters);
    EXPECT_EQ(fingerprint(ours), kListings[i].hash);
  }
}

// The order of a JSON object's keys is part of the test.
nlohmann::ordered_json checkpoints(const std::string& path) {
  std::ifstream file(path);
  return nlohmann::ordered_json::parse(file);
}

TEST(Published, EveryNameAndShapeInOrderAndInference) {
  const auto path = find_reference("published_checkpoints.json");
  if (!path) GTEST_SKIP() << kNoReference;
  const nlohmann::ordered_json all = checkpoints(*path);
  EXPECT_EQ(all.size(), 15u);
  for (const KnownModel& model : published()) {
    SCOPED_TRACE(model.name);
    const auto& entry = all.at(model.name);
    std::vector<NamedShape> theirs;
    for (const auto& [name, shape] : entry.at("tensors").items())
      theirs.push_back({name, shape.template get<std::vector<std::int64_t>>()});
    const Network network = planned(model, DType::f32);
    const std::vector<NamedShape> ours = listed(network);
    ASSERT_EQ(ours.size(), theirs.size());
    for (std::size_t i = 0; i < ours.size(); ++i) {
      EXPECT_EQ(ours[i].name, theirs[i].name);
      EXPECT_EQ(ours[i].shape, theirs[i].shape) << ours[i].name;
    }
    EXPECT_EQ(network.parameters().numel(), entry.at("parameters").get<std::int64_t>());

    // Read off names and shapes, under OpenAI's file name: exactly what its flags mean.
    const Inference inferred = infer(theirs, {}, {}, std::string(model.name) + ".pt");
    const nlohmann::json flags = entry.at("flags");
    EXPECT_EQ(inferred.published, model.name);
    EXPECT_EQ(inferred.kind, model.kind);
    if (inferred.kind == NetworkKind::classifier)
      EXPECT_EQ(to_json(inferred.classifier), to_json(classifier_of(flags)));
    else
      EXPECT_EQ(to_json(inferred.unet), to_json(unet_of(flags)));
    EXPECT_EQ(inferred.assumed, std::vector<std::string>());
    // Under another name the shapes still lead to it, or to a sibling with the same shapes; heads
    // and order are then said to be assumed.
    const Inference renamed = infer(theirs, {}, {}, "renamed.pt");
    EXPECT_NE(renamed.published.find(model.name), std::string::npos);
    EXPECT_EQ(renamed.assumed.empty(), inferred.kind == NetworkKind::classifier);
  }
}

}  // namespace
}  // namespace tiller::test
