// tiller inspect, through the program: every kind of file, and what is said about it.
#include <cmath>

#include "nn/published.h"
#include "runtime/files/image.h"
#include "runtime/files/npz.h"
#include "tests/tools/program_util.h"
#include "tools/network.h"

namespace tiller {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using testing::data_file;
using testing::Ended;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TemporaryFolder;
using testing::tensor_named;
using testing::tiller_expect;

json inspect(const std::string& path, const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = {"inspect", path, "--json"};
  words.insert(words.end(), more.begin(), more.end());
  return tiller_expect(0, words).json();
}

struct Container {
  const char* file;
  const char* name;
  int storages;
  const char* dtype;
};
class InspectContainer : public ::testing::TestWithParam<Container> {};

TEST_P(InspectContainer, ShowsTheNetworkAndItsTensors) {
  const Container& expected = GetParam();
  const json report = inspect(data_file(expected.file));
  EXPECT_EQ(report["container"], expected.name);
  EXPECT_EQ(report["file_bytes"], std::filesystem::file_size(data_file(expected.file)));
  EXPECT_EQ(report["totals"]["tensors"], 128);
  EXPECT_EQ(report["totals"]["storages"], expected.storages);
  EXPECT_EQ(report["totals"]["tensors_sharing_a_storage"], expected.storages == 2 ? 128 : 0);
  EXPECT_EQ(report["totals"]["dtypes"], json({{expected.dtype, 128}}));
  EXPECT_EQ(report["totals"]["nan"], 0);
  ASSERT_EQ(report["tensors"].size(), 128u);
  EXPECT_EQ(report["tensors"][0]["name"], "time_embed.0.weight");
  EXPECT_EQ(report["tensors"][0]["shape"], json({128, 32}));
  std::int64_t elements = 0;
  for (const json& tensor : report["tensors"])
    elements += tensor["statistics"]["count"].get<std::int64_t>();
  const json& network = report["network"];
  EXPECT_EQ(network["parameters"], elements);  // every tensor of the file is a parameter
  EXPECT_EQ(network["kind"], "unet");
  EXPECT_THAT(network["flags"].get<std::string>(),
              AllOf(HasSubstr("--image_size 16 --num_channels 32 --num_res_blocks 1 "
                              "--channel_mult 1,2 --attention_resolutions 8"),
                    HasSubstr("--resblock_updown False"), HasSubstr("--num_heads 4")));
  EXPECT_THAT(network["assumed"].dump(), HasSubstr("--num_heads 4"));
  EXPECT_GT(network["forward"]["gflop"], 0.1);
}

INSTANTIATE_TEST_SUITE_P(
    Files, InspectContainer,
    ::testing::Values(Container{"unet_plain.pt", "PyTorch zip", 128, "f32"},
                      Container{"unet_plain.legacy.pt", "PyTorch before 1.6", 128, "f32"},
                      Container{"unet_plain.flat.pt", "PyTorch zip", 2, "f32"},
                      Container{"unet_plain.parameters.pt", "PyTorch zip", 128, "f32"},
                      Container{"unet_plain.half.pt", "PyTorch zip", 128, "f16"}));

TEST(Inspect, SafetensorsAndTheirMetadata) {
  const TemporaryFolder folder;
  write_safetensors(folder / "a.safetensors",
                    testing::all_tensors(Checkpoint::open(data_file("unet_plain.pt"))),
                    {{"note", "colours\x1b[31m"}});
  const json report = inspect(folder / "a.safetensors");
  EXPECT_EQ(report["container"], "safetensors");
  EXPECT_EQ(report["metadata"]["format"], "pt");
  EXPECT_EQ(report["network"]["parameters"], 702499);
  // A terminal obeys no file.
  EXPECT_THAT(tiller_expect(0, {"inspect", folder / "a.safetensors"}).out,
              HasSubstr("metadata note: colours?[31m\n"));
}

TEST(Inspect, EveryTensorOnRequest) {
  const std::string model = data_file("unet_plain.flat.pt");
  EXPECT_THAT(tiller_expect(0, {"inspect", model}).out, Not(HasSubstr("storage 1 + ")));
  const std::string all = tiller_expect(0, {"inspect", model, "--tensors"}).out;
  const Checkpoint file = Checkpoint::open(model);
  for (const FileTensor& tensor : file.tensors())
    EXPECT_THAT(all,
                AllOf(HasSubstr("  " + tensor.name + " "),
                      HasSubstr(fmt::format("storage {} + {}  ", tensor.storage, tensor.offset))));
}

TEST(Inspect, AClassifierWithItsGradient) {
  const json network = inspect(data_file("classifier_attention.pt"),
                               {"--classifier_num_head_channels", "32"})["network"];
  EXPECT_EQ(network["kind"], "classifier");
  EXPECT_TRUE(network["assumed"].empty());
  EXPECT_THAT(network["words"].get<std::string>(), HasSubstr("10 classes, attention pool"));
  // Forward and the gradient by the input alone: twice the forward, and no weight gradients.
  const double forward = network["forward"]["gflop"], gradient = network["gradient"]["gflop"];
  EXPECT_GT(gradient, 1.9 * forward);
  EXPECT_LT(gradient, 2.3 * forward);
  EXPECT_GT(network["gradient"]["activation_bytes"], network["forward"]["activation_bytes"]);
  EXPECT_EQ(network["sampling_bytes"].get<std::int64_t>(),
            4 * network["parameters"].get<std::int64_t>() +
                network["gradient"]["packed_bytes"].get<std::int64_t>() +
                network["gradient"]["activation_bytes"].get<std::int64_t>());
  // The products read the weights where the file has them.
  EXPECT_EQ(network["gradient"]["packed_bytes"], 0);
  EXPECT_EQ(network["forward"]["packed_bytes"], 0);
}

TEST(Inspect, AHalfTorsoKeepsPackedForms) {
  const json network =
      inspect(data_file("classifier_attention.pt"),
              {"--classifier_num_head_channels", "32", "--classifier_use_fp16", "True"})["network"];
  // Convolutions keep one form for the forward and one for the gradient by the input.
  EXPECT_GT(network["gradient"]["packed_bytes"], network["forward"]["packed_bytes"]);
  EXPECT_GT(network["forward"]["packed_bytes"].get<std::int64_t>(),
            2 * network["parameters"].get<std::int64_t>());
}

TEST(Inspect, StatisticsAndDamage) {
  const TemporaryFolder folder;
  auto tensors = testing::all_tensors(Checkpoint::open(data_file("unet_plain.pt")));
  float* values = tensor_named(tensors, "out.2.bias").data<float>();
  values[0] = std::nanf("");
  values[1] = INFINITY;
  values[2] = -7;
  tensor_named(tensors, "out.0.bias").data<float>()[3] = 100;
  write_pt(folder / "bad.pt", tensors);
  const json report = inspect(folder / "bad.pt");
  EXPECT_EQ(report["totals"]["nan"], 1);
  EXPECT_EQ(report["totals"]["infinite"], 1);
  EXPECT_EQ(report["totals"]["first_damaged"], "out.2.bias");
  EXPECT_EQ(report["totals"]["largest_magnitude"], 100.0);
  EXPECT_EQ(report["totals"]["largest_magnitude_in"], "out.0.bias");
  const json& last = report["tensors"].back();
  EXPECT_EQ(last["name"], "out.2.bias");
  EXPECT_EQ(last["statistics"]["min"], -7.0);
  EXPECT_EQ(last["statistics"]["max"], -7.0);
  const Ended text = tiller_expect(0, {"inspect", folder / "bad.pt", "--tensors"});
  EXPECT_THAT(text.out,
              AllOf(HasSubstr("warning: 1 NaN and 1 infinite values, first in out.2.bias"),
                    HasSubstr("mean -7  std 0  1 NaN, 1 infinite")));
}

TEST(Inspect, TheArchitectureThatAFlagContradicts) {
  const std::string model = data_file("unet_plain.pt");
  EXPECT_THAT(tiller_expect(2, {"inspect", model, "--class_cond", "True"}).err,
              HasSubstr("--class_cond True contradicts"));
  EXPECT_THAT(tiller_expect(0, {"inspect", model, "--num_heads", "2"}).out,
              AllOf(HasSubstr("2 heads"), Not(HasSubstr("assumed 4 heads"))));
}

TEST(Inspect, WeightsOfNoNetworkOfOurs) {
  const json report = inspect(data_file("files/little.pt"));
  EXPECT_EQ(report["stripped"], "module.");
  EXPECT_EQ(report["totals"]["tensors"], 8);
  EXPECT_THAT(report["network_error"].get<std::string>(),
              HasSubstr("no network of guided-diffusion"));
}

TEST(Inspect, OptimizerFiles) {
  const std::string path = data_file("loss_scale_opt.fp16.pt");
  const json report = inspect(path);
  EXPECT_EQ(report["step"], 4.0);
  EXPECT_EQ(report["states"], 2);
  EXPECT_EQ(report["elements"], 10);
  EXPECT_EQ(report["groups"][0]["options"]["lr"], 0.01);
  EXPECT_THAT(tiller_expect(0, {"inspect", path}).out, HasSubstr("these are no weights"));
}

TEST(Inspect, Arrays) {
  const TemporaryFolder folder;
  const json report = inspect(data_file("unet_plain.npz"));
  ASSERT_EQ(report["arrays"].size(), 3u);
  EXPECT_EQ(report["arrays"][1]["name"], "t");
  EXPECT_EQ(report["arrays"][1]["dtype"], "i64");
  EXPECT_EQ(report["arrays"][1]["statistics"]["max"], 999.0);
  // By what it holds, not by its name.
  std::filesystem::copy(data_file("files/deflated.npz"), folder / "samples.bin");
  EXPECT_EQ(inspect(folder / "samples.bin")["arrays"][0]["compressed"], true);
  EXPECT_EQ(inspect(data_file("files/plain.npy"))["arrays"][0]["statistics"]["mean"], 11.5);
  EXPECT_THAT(tiller_expect(0, {"inspect", data_file("files/odd.npz")}).out,
              AllOf(HasSubstr("good "), HasSubstr("cannot be read: its dtype is '|O'")));
}

TEST(Inspect, AnArrayInBlocksHasTheStatisticsOfTheWhole) {
  const TemporaryFolder folder;
  {
    NpzWriter writer(folder / "big.npz");
    writer.begin("arr_0", DType::u8, {70, 1 << 20});  // more than one block
    for (int row = 0; row < 70; ++row) {
      const std::vector<std::uint8_t> values(1 << 20, static_cast<std::uint8_t>(row));
      writer.append(Tensor::from(values, {1, 1 << 20}));
    }
    writer.finish();
  }
  const json s = inspect(folder / "big.npz")["arrays"][0]["statistics"];
  EXPECT_EQ(s["count"], 70 << 20);
  EXPECT_EQ(s["min"], 0.0);
  EXPECT_EQ(s["max"], 69.0);
  EXPECT_NEAR(s["mean"], 34.5, 1e-9);
  EXPECT_NEAR(s["deviation"], std::sqrt((70.0 * 70.0 - 1) / 12), 1e-9);
}

TEST(Inspect, OurPicturesTellHowTheyWereMade) {
  const TemporaryFolder folder;
  const Tensor picture = Tensor::zeros({5, 7, 3}, DType::u8);
  write_png(folder / "a.png", picture, {{"tiller", "{\"seed\": 3}"}, {"title", "b\xc3\xa4r"}});
  const json report = inspect(folder / "a.png");
  EXPECT_EQ(report["width"], 7);
  EXPECT_EQ(report["height"], 5);
  EXPECT_EQ(report["text"]["tiller"], "{\"seed\": 3}");
  EXPECT_THAT(
      tiller_expect(0, {"inspect", folder / "a.png"}).out,
      AllOf(HasSubstr("picture of 7x5 pixels, 3 channels"), HasSubstr("title: b\xc3\xa4r\n")));
  EXPECT_EQ(inspect(data_file("images/gif.gif"))["width"], 40);
  EXPECT_EQ(inspect(data_file("images/base.jpg"))["height"], 30);
}

// A checkpoint with a published model's names and shapes, and zeros that take no room on the disk.
std::string write_published(const TemporaryFolder& folder, const KnownModel& model) {
  Inference inference;
  inference.kind = model.kind;
  if (model.kind == NetworkKind::classifier)
    inference.classifier = classifier_config(model);
  else
    inference.unet = unet_config(model);
  nlohmann::ordered_json header;
  std::int64_t at = 0;
  const Network network = plan_network(inference);
  for (const Parameter& parameter : network.parameters().all()) {
    const std::int64_t end = at + 4 * parameter.value.numel();
    header[parameter.key] = {
        {"dtype", "F32"}, {"shape", parameter.file_shape}, {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  const std::string path = folder / "unknown.safetensors";
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(&length), 8) << text;
  std::filesystem::resize_file(path, 8 + length + static_cast<std::uint64_t>(at));
  return path;
}

struct Published {
  const char* name;
  double parameters;  // millions, as the models' authors count
  double gmac;        // multiply-adds of a forward pass, counted by hand for PyTorch's modules
};
class InspectPublished : public ::testing::TestWithParam<Published> {};

TEST_P(InspectPublished, IsRecognisedAndItsWorkPlanned) {
  const TemporaryFolder folder;
  const auto models = known_models();
  const auto model = std::find_if(models.begin(), models.end(), [](const KnownModel& m) {
    return std::string(m.name) == GetParam().name;
  });
  ASSERT_NE(model, models.end());
  const json network = inspect(write_published(folder, *model))["network"];
  EXPECT_EQ(network["published"], GetParam().name);
  EXPECT_NEAR(network["parameters"].get<double>() * 1e-6, GetParam().parameters, 0.06);
  EXPECT_NEAR(network["forward"]["gflop"].get<double>() / 2, GetParam().gmac,
              0.02 * GetParam().gmac);
}

INSTANTIATE_TEST_SUITE_P(Models, InspectPublished,
                         ::testing::Values(Published{"cifar10_uncond_50M", 52.5, 8.4},
                                           Published{"64x64_classifier", 65.4, 19.1}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace tiller
