// An attention block norms on the way into qkv while nobody looks at what the norm gives.
#include "nn/attention_block.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/autograd/trace.h"
#include "tests/kernels/helpers.h"

namespace tiller::test {
namespace {

class Paths final : public ActivationObserver {
 public:
  Paths() : previous_(activation_observer()) { activation_observer() = this; }
  ~Paths() override { activation_observer() = previous_; }
  Paths(const Paths&) = delete;
  Paths& operator=(const Paths&) = delete;
  void on_output(const std::string& path, const Tensor&) override { seen.insert(path); }
  std::set<std::string> seen;

 private:
  ActivationObserver* previous_;
};

TEST(AttentionBlock, FusesItsNormUnlessItIsLookedAt) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  const auto source = randomize_parameters(1, DType::f32, gpu());
  ParameterList parameters;
  const AttentionBlock block(Scope(*source, parameters, "block"), TorsoConfig(), 64, 1);
  const Tensor start = randn({2, 8, 8, 64}, DType::f16, 2).to(gpu());
  const Tensor w = randn({64, 1, 1, 64}, DType::f32, 3, 0.1).to(gpu());
  const Activation x = conv2d(start, w, {}, {.stats = true});

  const Ran fused;
  const std::vector<double> y = doubles(block(x).x.value().to(kCpu));
  EXPECT_EQ(fused.count("group_norm_fwd"), 0);
  // The norm's time is the layer's that it rides on.
  EXPECT_TRUE(std::any_of(fused.events.begin(), fused.events.end(),
                          [](const Ran::Event& event) { return event.module == "block.qkv"; }));

  const Paths paths;
  const Ran apart;
  EXPECT_EQ(doubles(block(x).x.value().to(kCpu)), y);
  EXPECT_EQ(apart.count("group_norm_fwd"), 1);
  EXPECT_EQ(paths.seen, (std::set<std::string>{"block.norm", "block.qkv", "block"}));
}

}  // namespace
}  // namespace tiller::test
