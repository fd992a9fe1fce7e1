// A few steps of training against PyTorch's: losses, weights, moments and averages afterwards.
#include <algorithm>
#include <cmath>

#include "diffusion/losses.h"
#include "nn/optimizer.h"
#include "tests/integration/reference.h"

namespace tiller {
namespace {

using namespace test;

// Entry i of the first dimension, without it; pictures in our order.
Tensor entry(const Tensor& all, std::int64_t i) {
  std::vector<std::int64_t> dims(all.shape().begin() + 1, all.shape().end());
  const Tensor one = all.slice(i, i + 1).reshape(Shape(std::span<const std::int64_t>(dims)));
  return one.rank() == 4 ? channels_last(one) : one;
}

// Some parameters have no gradient but rounding: with one channel per group a norm takes away what
// the layer before it adds per channel, and softmax what the keys' bias adds. Adam divides by the
// gradient's size, so that these wander, each program in its own way. They are the elements whose
// second moment is nothing beside the largest.
class Wandering {
 public:
  // `reach`: how far the rates of all steps can have carried an element.
  Wandering(const AdamW& optimizer, double reach) : v_(optimizer.state().v), reach_(reach) {
    for (const Tensor& v : v_)
      largest_ = std::max(largest_, reduce_max(v, ReduceOver::all).to_vector<float>()[0]);
  }
  // Compares the rest, relative to its norm, and bounds how far these are apart.
  void expect_close(std::size_t parameter, const Tensor& ours, const Tensor& theirs,
                    double tolerance, double reach) {
    const std::vector<float> v = v_[parameter].to_vector<float>(), a = ours.to_vector<float>(),
                             b = theirs.to_vector<float>();
    ASSERT_EQ(a.size(), b.size());
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      ++all_;
      if (v[i] < 1e-12f * largest_) {
        ++wandering_;
        EXPECT_NEAR(a[i], b[i], 2 * reach);
        continue;
      }
      difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
      norm += std::pow(static_cast<double>(b[i]), 2);
    }
    EXPECT_LE(std::sqrt(difference), tolerance * std::sqrt(norm));
  }
  void expect_weights(const ParameterList& ours, const std::string& path) {
    SCOPED_TRACE(path);
    const Checkpoint theirs = Checkpoint::open(path);
    ASSERT_EQ(ours.all().size(), theirs.tensors().size());
    for (std::size_t i = 0; i < ours.all().size(); ++i) {
      const Parameter& p = ours.all()[i];
      SCOPED_TRACE(p.key);
      const Tensor b = from_file_layout(theirs.read(p.key), p.value.shape(), p.layout);
      expect_close(i, p.value, b, 1e-4, reach_);
    }
  }
  // Only a few of all elements were let off.
  void expect_few() const { EXPECT_LT(wandering_, all_ / 50) << "of " << all_; }

 private:
  std::vector<Tensor> v_;
  double reach_;
  float largest_ = 0;
  std::int64_t all_ = 0, wandering_ = 0;
};

TEST(Training, SixStepsWithEma) {
  TILLER_NEEDS_REFERENCE();
  const nlohmann::json& c = reference_index().at("train");
  const NpzReader file = NpzReader::open(reference_folder() + "/train.npz");
  const auto source = load_parameters(Checkpoint::open(reference_folder() + "/train_start.pt"));
  const UNet unet(unet_config(c.at("flags")), *source);
  const GaussianDiffusion diffusion(process_config(c.at("flags"), ""));
  const Tensor x0 = file.read("x0"), noise = file.read("noise"), t = file.read("t");
  const Tensor expected = file.read("losses");  // [steps,N]
  AdamW optimizer(unet.parameters(), {.weight_decay = c.at("weight_decay")});
  Ema ema(unet.parameters(), c.at("ema_rate"));
  for (std::int64_t i = 0; i < x0.dim(0); ++i) {
    const Tensor x = entry(x0, i), e = entry(noise, i), step = entry(t, i);
    ParameterGradients gradients(unet.parameters());
    std::vector<float> losses;
    backward_microbatches(
        gradients, x.dim(0), c.at("microbatch"), [&](std::int64_t begin, std::int64_t end) {
          const Var loss = training_losses(diffusion, model_of(unet), x.slice(begin, end),
                                           step.slice(begin, end), e.slice(begin, end))
                               .loss;
          for (const float value : loss.value().to_vector<float>()) losses.push_back(value);
          return reduce_mean(loss);  // they add up, as in image_train
        });
    EXPECT_LT(relative_error(Tensor::from(losses, {x.dim(0)}), entry(expected, i)), 1e-4)
        << "step " << i;
    optimizer.step(gradients, c.at("lr").get<double>() * (1 - static_cast<double>(i) / 10));
    ema.update();
  }
  Wandering wandering(optimizer, 6 * c.at("lr").get<double>());
  wandering.expect_weights(unet.parameters(), reference_folder() + "/train_end.pt");
  wandering.expect_weights(ema.parameters(), reference_folder() + "/train_end_ema.pt");

  const OptimizerFile saved = read_optimizer(reference_folder() + "/train_end_opt.pt");
  ASSERT_EQ(saved.state.size(), unet.parameters().all().size());
  for (const auto& [index, theirs] : saved.state) {
    const auto i = static_cast<std::size_t>(index);
    const Parameter& p = unet.parameters().all()[i];
    SCOPED_TRACE(p.key);
    const auto expect = [&](const Tensor& ours, const Tensor& saved_moment) {
      const Tensor b = from_file_layout(saved_moment, p.value.shape(), p.layout);
      wandering.expect_close(i, ours, b, 3e-4, 1e-6);
    };
    EXPECT_EQ(theirs.step, static_cast<double>(optimizer.state().steps));
    expect(optimizer.state().m[i], theirs.exp_avg);
    expect(optimizer.state().v[i], theirs.exp_avg_sq);
  }
  wandering.expect_few();
}

TEST(Training, ThreeStepsOfAClassifier) {
  TILLER_NEEDS_REFERENCE();
  const nlohmann::json& c = reference_index().at("train_classifier");
  const NpzReader file = NpzReader::open(reference_folder() + "/train_classifier.npz");
  const auto source =
      load_parameters(Checkpoint::open(reference_folder() + "/train_classifier_start.pt"));
  const Classifier classifier(classifier_config(c.at("flags")), *source);
  const GaussianDiffusion diffusion{DiffusionConfig{}};
  const Tensor x0 = file.read("x0"), noise = file.read("noise"), t = file.read("t"),
               y = file.read("y");
  AdamW optimizer(classifier.parameters(), {.weight_decay = c.at("weight_decay")});
  std::vector<float> losses, top1, top5;
  for (std::int64_t i = 0; i < x0.dim(0); ++i) {
    const Tensor step = entry(t, i), labels = entry(y, i);
    const Tensor x_t = diffusion.q_sample(entry(x0, i), step, entry(noise, i)).value();
    const std::int64_t batch = x_t.dim(0);
    ParameterGradients gradients(classifier.parameters());
    backward_microbatches(
        gradients, batch, c.at("microbatch"), [&](std::int64_t begin, std::int64_t end) {
          const Tensor target = labels.slice(begin, end);
          const Var logits =
              classifier(x_t.slice(begin, end), diffusion.timesteps(step.slice(begin, end)));
          const Var loss = cross_entropy(logits, target);
          for (const float value : loss.value().to_vector<float>()) losses.push_back(value);
          const std::vector<float> scores = logits.value().to_vector<float>();
          const std::vector<std::int64_t> wanted = target.to_vector<std::int64_t>();
          for (std::size_t n = 0; n < wanted.size(); ++n) {
            const float* row = scores.data() + n * scores.size() / wanted.size();
            int better = 0;
            for (std::size_t k = 0; k < scores.size() / wanted.size(); ++k)
              better += row[k] > row[wanted[n]];
            top1.push_back(better < 1 ? 1.f : 0.f);
            top5.push_back(better < 5 ? 1.f : 0.f);
          }
          return affine(reduce_mean(loss),
                        static_cast<double>(end - begin) / static_cast<double>(batch), 0);
        });
    optimizer.step(gradients, c.at("lr").get<double>() * (1 - static_cast<double>(i) / 3));
  }
  EXPECT_LT(relative_error(Tensor::from(losses, {12}), file.read("loss")), 1e-4);
  EXPECT_EQ(top1, file.read("top1").to_vector<float>());
  EXPECT_EQ(top5, file.read("top5").to_vector<float>());
  Wandering wandering(optimizer, 3 * c.at("lr").get<double>());
  wandering.expect_weights(classifier.parameters(),
                           reference_folder() + "/train_classifier_end.pt");
  wandering.expect_few();
}

// A mean that weighs len/batch gives the whole batch's gradient whatever the microbatch; plain means
// add up to more.
TEST(Training, MicrobatchesWeighedByLengthGiveTheBatchsGradient) {
  const UNet unet = load_unet(TILLER_TEST_DATA, "unet_plain");
  const GaussianDiffusion diffusion(
      process_config(reference_index().at("unet_plain").at("flags"), ""));
  const NpzReader file = NpzReader::open(data("losses.npz"));
  const Tensor x = array(file, "unet_plain.x0"), e = array(file, "unet_plain.noise");
  const Tensor step = Tensor::from(std::vector<std::int64_t>{3, 200, 500, 900}, {4});
  const auto gradient = [&](std::int64_t microbatch, bool weighed) {
    ParameterGradients sums(unet.parameters());
    backward_microbatches(sums, 4, microbatch, [&](std::int64_t begin, std::int64_t end) {
      const Var mean = reduce_mean(training_losses(diffusion, model_of(unet), x.slice(begin, end),
                                                   step.slice(begin, end), e.slice(begin, end))
                                       .loss);
      return weighed ? affine(mean, static_cast<double>(end - begin) / 4, 0) : mean;
    });
    return sums;
  };
  const ParameterGradients whole = gradient(0, true), parts = gradient(3, true);
  // The bias before a group norm of single channels has no gradient: what is there is rounding, and
  // differs with the order of the sum.
  const double rounding = 1e-8 * whole.norm();
  std::size_t compared = 0;
  for (std::size_t i = 0; i < whole.all().size(); ++i) {
    double largest = 0;
    for (const float value : whole.all()[i].to_vector<float>())
      largest = std::max(largest, std::abs(static_cast<double>(value)));
    if (largest > rounding) {
      ++compared;
      EXPECT_LT(relative_error(parts.all()[i], whole.all()[i]), 1e-4)
          << unet.parameters().all()[i].key << ", of at most " << largest;
    }
  }
  EXPECT_GT(10 * compared, 9 * whole.all().size());
  EXPECT_NEAR(gradient(1, false).norm(), 4 * whole.norm(), 1e-4 * whole.norm());
}

TEST(Training, TheFirstUpdateIsAStepOfTheRateAndTheAverageFollows) {
  const UNet unet = load_unet(TILLER_TEST_DATA, "unet_plain");
  const Parameter& p = *unet.parameters().find("out.2.bias");
  const std::vector<float> before = p.value.to_vector<float>();
  AdamW optimizer(unet.parameters(), {.weight_decay = 0.5});
  Ema ema(unet.parameters(), 0.75);
  ParameterGradients gradients(unet.parameters());
  EXPECT_THROW(optimizer.step(gradients, 0.1), Error);  // nothing arrived
  EXPECT_EQ(optimizer.state().steps, 0);
  Tape tape;
  gradients.watch(tape);
  for (const Leaf& leaf : tape.leaves())
    gradients.accept(leaf, fill(leaf.value.shape(), DType::f32, kCpu, -3));
  optimizer.step(gradients, 0.1);
  ema.update();
  const std::vector<float> after = p.value.to_vector<float>();
  const std::vector<float> average = ema.parameters().find("out.2.bias")->value.to_vector<float>();
  for (std::size_t i = 0; i < before.size(); ++i) {
    // m / sqrt(v) is the gradient's sign after one step.
    EXPECT_NEAR(after[i], before[i] * (1 - 0.1 * 0.5) + 0.1, 1e-6);
    EXPECT_NEAR(average[i], 0.75 * before[i] + 0.25 * after[i], 1e-6);
  }
  AdamW::State other;
  EXPECT_THROW(optimizer.restore(other), Error);
  optimizer.restore(optimizer.state());
  EXPECT_EQ(optimizer.state().steps, 1);
  EXPECT_THROW(Ema(unet.parameters(), 1.5), Error);
}

TEST(Training, AParameterWithoutAGradientIsNamed) {
  const UNet unet = load_unet(TILLER_TEST_DATA, "unet_plain");
  ParameterGradients gradients(unet.parameters());
  backward_microbatches(gradients, 1, 0, [&](std::int64_t, std::int64_t) {
    return reduce_sum(Var(unet.parameters().find("time_embed.0.weight")->value));
  });
  try {
    gradients.all();
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("no gradient reached time_embed.0.bias"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace tiller
