// The networks that the repository ships do what their model card says, on pictures that they never saw:
// a hundred of CIFAR-10's test set, ten of each class.
#include <gtest/gtest.h>

#include <filesystem>

#include "autograd/ops.h"
#include "diffusion/losses.h"
#include "tests/tools/sample_util.h"
#include "tools/commands/commands.h"
#include "tools/data/dataset.h"
#include "tools/demo_cifar/models.h"
#include "tools/network.h"
#include "tools/pictures/pixels.h"
#include "tools/quality/judge.h"
#include "tools/sampling/process.h"

namespace tiller::testing {
namespace {

namespace fs = std::filesystem;

const std::string kModels = TILLER_SOURCE_DIR "/tools/demo_models";

Flags no_flags() { return Flags::parse(command_spec("sample"), {}); }

struct Pictures {
  Tensor pixels;                     // [100,32,32,3] u8
  std::vector<std::int64_t> labels;  // by the classifiers' class names
};

Pictures pictures(const std::vector<std::string>& class_names) {
  const auto data = open_dataset(data_file("cifar10"),
                                 {.labels = LabelSource::names, .class_names = class_names});
  Pictures all{quality::all_pictures(*data, 32), {}};
  for (std::int64_t i = 0; i < data->size(); ++i) all.labels.push_back(data->label(i));
  return all;
}

double share_seen(const char* file) {
  const Network network = open_classifier(kModels + "/" + file, no_flags());
  EXPECT_EQ(network.class_names.size(), 10u);
  const Pictures real = pictures(network.class_names);
  EXPECT_EQ(real.labels.size(), 100u);
  return quality::share_right(quality::judge(*network.classifier, real.pixels).seen, real.labels);
}

TEST(ShippedModels, ClassifiersRecogniseRealPictures) {
  EXPECT_GT(share_seen(demo::kJudgeFile), 0.7);
  EXPECT_GT(share_seen(demo::kGuideFile), 0.55);
}

// The mean squared error of x_0 at one step, of every fifth picture.
double error_at(const Network& network, std::int64_t step, const Pictures& real,
                const std::vector<std::int64_t>& labels) {
  const NoGrad no_recording;
  const GaussianDiffusion diffusion(process_of(no_flags(), network.inference).config);
  std::vector<std::int64_t> places, wanted;
  for (std::int64_t i = 0; i < 100; i += 5) {
    places.push_back(i);
    wanted.push_back(labels[static_cast<std::size_t>(i)]);
  }
  const Tensor pixels = quality::rows_at(real.pixels, places);
  const Tensor x = from_pixels(pixels);
  Tensor noise = Tensor::empty_like(x);
  fill_normal(noise, {.seed = 1});
  const Tensor y = network.num_classes() > 0 ? Tensor::from(wanted, {x.dim(0)}) : Tensor();
  const Model model = [&](const Var& x_t, const Tensor& t) { return (*network.unet)(x_t, t, y); };
  const TrainingLosses losses =
      training_losses(diffusion, model, x, same_step(step, x.dim(0)), noise);
  return reduce_mean(losses.mse).value().to_vector<float>()[0];
}

TEST(ShippedModels, UNetsPredictThePictureBehindTheNoise) {
  const Network guide = open_classifier(kModels + "/" + demo::kGuideFile, no_flags());
  const Pictures real = pictures(guide.class_names);
  const Network plain = open_model(kModels + "/" + demo::kUnetFile, no_flags()),
                told = open_model(kModels + "/" + demo::kConditionalUnetFile, no_flags());
  EXPECT_EQ(plain.num_classes(), 0);
  ASSERT_EQ(told.num_classes(), 11);
  const std::vector<std::int64_t> none(100, 10);
  std::vector<std::int64_t> wrong;
  for (const std::int64_t label : real.labels) wrong.push_back((label + 5) % 10);
  // By the model card; a picture's own variance is near 0.25.
  EXPECT_LT(error_at(plain, 300, real, none), 0.025);
  EXPECT_LT(error_at(plain, 600, real, none), 0.055);
  // One network, with and without its class "none".
  EXPECT_NEAR(error_at(told, 600, real, none), error_at(plain, 600, real, none), 1e-4);
  // What it is told it uses: where little is left of the picture, above all.
  const double right = error_at(told, 900, real, real.labels);
  EXPECT_LT(right, error_at(told, 900, real, none));
  EXPECT_LT(1.03 * right, error_at(told, 900, real, wrong));
}

TEST(ShippedModels, FitIntoTheRepository) {
  std::uintmax_t bytes = 0;
  for (const char* file :
       {demo::kUnetFile, demo::kConditionalUnetFile, demo::kGuideFile, demo::kJudgeFile})
    bytes += fs::file_size(kModels + "/" + file);
  EXPECT_LT(bytes, 24'000'000u);
}

}  // namespace
}  // namespace tiller::testing
