// tiller sample --device simt: the whole CUDA path, from the program down to one thread of a kernel.
#include "runtime/backend.h"
#include "tests/tools/sample_util.h"

namespace tiller::testing {
namespace {

TEST(SampleSimt, AGuidedPictureIsTheCpus) {
  if (!available({DeviceType::simt, 0})) GTEST_SKIP() << "this build has no simt";
  const auto picture = [](const char* device, const std::string& folder) {
    tiller_expect(0, Arguments{"sample", "--num_samples", "1", "--batch_size", "1", "--classes",
                               "3", "--seed", "5", "--timestep_respacing", "2",
                               "--classifier_scale", "100", "--device", device, "--out", folder} +
                         guided_pair());
    return NpzReader::open(folder + "/samples_1x16x16x3.npz").read("arr_0");
  };
  const TemporaryFolder folder;
  expect_same_pictures(picture("simt", folder / "simt"), picture("cpu", folder / "cpu"), 0.01);
}

}  // namespace
}  // namespace tiller::testing
