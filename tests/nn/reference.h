#pragma once
// What the tests of the networks share: the reference cases, which guided-diffusion's own modules
// computed under PyTorch on a CPU in f32, and how to get at them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "nn/classifier.h"
#include "nn/unet.h"
#include "runtime/files/npz.h"
#include "tests/kernels/helpers.h"

namespace tiller::test {

/// Where a reference file lies. The tests' own set must be there; everything else is looked for in
/// the folder that TILLER_REFERENCE_DIR names, and is nothing when that is unset.
inline std::optional<std::string> find_reference(const std::string& name) {
  static const std::set<std::string> own = {"unet_plain.pt",
                                            "unet_plain.npz",
                                            "unet_plain.activations.npz",
                                            "unet_plain.fp16.npz",
                                            "unet_plain.legacy.pt",
                                            "unet_plain.half.pt",
                                            "unet_plain.flat.pt",
                                            "unet_plain.parameters.pt",
                                            "unet_plain.small_grads.npz",
                                            "unet_cond.pt",
                                            "unet_cond.npz",
                                            "unet_cond.fp16.npz",
                                            "unet_cond.small_grads.npz",
                                            "classifier_attention.pt",
                                            "classifier_attention.npz",
                                            "classifier_attention.fp16.npz",
                                            "classifier_attention.grads.npz"};
  if (own.contains(name)) return std::string(TILLER_TEST_DATA) + "/" + name;
  const char* folder = std::getenv("TILLER_REFERENCE_DIR");
  if (folder == nullptr || *folder == '\0') return {};
  return std::string(folder) + "/" + name;
}

inline constexpr const char* kNoReference =
    "TILLER_REFERENCE_DIR is not set: this reference case is NOT checked";

inline nlohmann::json read_json_file(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << "missing " << path;
  return nlohmann::json::parse(file);
}

/// [N,C,H,W] to [N,H,W,C]; other ranks as they are.
inline Tensor to_nhwc(const Tensor& t) {
  if (t.rank() != 4) return t;
  return from_file_layout(t, {t.dim(0), t.dim(2), t.dim(3), t.dim(1)}, FileLayout::oihw);
}

/// An array of floating-point numbers, channels last, as f32.
inline Tensor read_floats(const NpzReader& file, const std::string& name) {
  return to_nhwc(cast_on_host(file.read(name), DType::f32));
}

/// Expects ||a - b|| / ||b|| <= limit, and writes the error to --gtest_output.
inline void expect_close(const std::string& what, const Tensor& a, const Tensor& b, double limit) {
  const double error = relative_error(a, b);
  EXPECT_LE(error, limit) << what;
  testing::Test::RecordProperty(what, fmt::format("{:.2e}", error));
}

/// The inputs of a reference file; what it lacks is undefined.
struct Inputs {
  Tensor x, t, y, low_res;
};

inline Inputs read_inputs(const NpzReader& file) {
  Inputs in;
  in.x = read_floats(file, "x");
  const Tensor t = file.read("t");
  if (t.dtype() == DType::i64) {
    std::vector<float> steps;
    for (const std::int64_t step : t.to_vector<std::int64_t>())
      steps.push_back(static_cast<float>(step));
    in.t = Tensor::from(steps, t.shape());
  } else {
    in.t = cast_on_host(t, DType::f32);
  }
  if (file.contains("y")) in.y = file.read("y");
  if (file.contains("low_res")) in.low_res = read_floats(file, "low_res");
  return in;
}

/// A reference network: its checkpoint, and the configuration that the flags of its training mean.
struct Case {
  std::string name;        ///< of the file with x and out
  std::string checkpoint;  ///< "unet_plain.pt"
  bool is_classifier = false;
  UNetConfig unet;
  ClassifierConfig classifier;
};

/// The case of this name, or nothing when it needs TILLER_REFERENCE_DIR and that is unset.
std::optional<Case> find_case(const std::string& name);

/// What guided-diffusion's create_model, sr_create_model and create_classifier (or
/// EncoderUNetModel itself) make of their arguments.
UNetConfig unet_of(const nlohmann::json& flags);
ClassifierConfig classifier_of(const nlohmann::json& flags);

/// One of the two, loaded.
struct Network {
  std::unique_ptr<UNet> unet;
  std::unique_ptr<Classifier> classifier;
  const ParameterList& parameters() const {
    return unet ? unet->parameters() : classifier->parameters();
  }
  /// The UNet's output or the classifier's logits.
  Var operator()(const Var& x, const Inputs& in) const {
    return unet ? (*unet)(x, in.t, in.y, in.low_res ? Var(in.low_res) : Var())
                : (*classifier)(x, in.t);
  }
};

/// The case's network with the weights of `checkpoint` (its own when empty), its torso in `torso`.
inline Network load(const Case& c, DType torso = DType::f32, const std::string& checkpoint = {},
                    DType parameters = DType::f32) {
  const std::string& file = checkpoint.empty() ? c.checkpoint : checkpoint;
  const auto source = load_parameters(Checkpoint::open(find_reference(file).value()), parameters);
  Network network;
  if (c.is_classifier) {
    ClassifierConfig config = c.classifier;
    config.torso = torso;
    network.classifier = std::make_unique<Classifier>(config, *source);
  } else {
    UNetConfig config = c.unet;
    config.torso = torso;
    network.unet = std::make_unique<UNet>(config, *source);
  }
  EXPECT_TRUE(source->warnings().empty());
  return network;
}

}  // namespace tiller::test
