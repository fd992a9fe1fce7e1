#pragma once
// What these tests share: the networks that PyTorch's reference was made with, and the cases of
// tests/data/index.json. Small ones lie in tests/data; the others are looked for in the folder that
// TILLER_REFERENCE_DIR names.
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "diffusion/sampler.h"
#include "nn/classifier.h"
#include "nn/unet.h"
#include "runtime/files/npz.h"

namespace tiller::test {

/// The path of a file of the tests' own set.
std::string data(const std::string& name);
/// The folder of the larger cases, or "" when TILLER_REFERENCE_DIR is not set.
std::string reference_folder();

/// tests/data/index.json: for every case its flags and settings.
const nlohmann::json& reference_index();

/// The configurations that the index's flags mean, read here and not through nn/infer, which has
/// its own tests.
UNetConfig unet_config(const nlohmann::json& flags);
ClassifierConfig classifier_config(const nlohmann::json& flags);
DiffusionConfig process_config(const nlohmann::json& flags, const std::string& timestep_respacing);

/// A network of the index, loaded from `folder`/`name`.pt.
UNet load_unet(const std::string& folder, const std::string& name, DType dtype = DType::f32);
Classifier load_classifier(const std::string& folder, const std::string& name);

/// PyTorch's [N,C,H,W] as [N,H,W,C].
Tensor channels_last(const Tensor& nchw);
/// The array `name` of a file, in our order when it has four dimensions.
Tensor array(const NpzReader& file, const std::string& name);

/// The noise of a recorded run: `noise` [draws,N,C,H,W], one entry per draw.
NoiseSource recorded_noise(const Tensor& noise);

/// A network as the sampler wants it; y and low_res may be none.
Model model_of(const UNet& unet, const Tensor& y = {}, const Tensor& low_res = {});
/// scale * d log p(y | x_t) / d x_t.
Guide guide_of(const Classifier& classifier, const Tensor& y, double scale);

/// (x + 1) * 127.5 clamped to [0, 255] and truncated: [N,H,W,C].
std::vector<std::uint8_t> pixels(const Tensor& x);
/// How many values differ, and by how much at most.
struct PixelDifference {
  std::int64_t differing = 0, total = 0;
  int largest = 0;
};
PixelDifference compare_pixels(const std::vector<std::uint8_t>& ours, const Tensor& theirs);

/// ||a - b|| / ||b||; infinite where anything is not finite.
double relative_error(const Tensor& a, const Tensor& b);

}  // namespace tiller::test

/// The rest of the test wants the larger cases: skipped, loudly, when they are not there.
#define TILLER_NEEDS_REFERENCE()                  \
  if (::tiller::test::reference_folder().empty()) \
  GTEST_SKIP() << "set TILLER_REFERENCE_DIR to the folder of PyTorch's outputs to run this"
