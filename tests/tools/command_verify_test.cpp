// tiller verify, through the program: what agrees, what does not, and references that do not fit.
#include <cmath>
#include <map>

#include "runtime/files/npz.h"
#include "tests/tools/program_util.h"

namespace tiller {
namespace {

using ::testing::AllOf;
using testing::data_file;
using testing::Ended;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TemporaryFolder;
using testing::tensor_named;
using testing::tiller_expect;
using Words = std::vector<std::string>;

Words unet(const std::string& model, const std::string& reference, const Words& more = {}) {
  Words words = {"verify", "--model_path", model, "--reference", reference};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Words classifier(const std::string& reference, const Words& more = {}) {
  Words words = {"verify",
                 "--classifier_path",
                 data_file("classifier_attention.pt"),
                 "--classifier_num_head_channels",
                 "32",
                 "--reference",
                 reference};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

const std::string kModel = data_file("unet_plain.pt");
const std::string kReference = data_file("unet_plain.npz");
const Words kHeads = {"--num_heads", "4"};

TEST(Verify, EveryContainerAgreesWithPyTorch) {
  for (const char* name : {"unet_plain.pt", "unet_plain.legacy.pt", "unet_plain.flat.pt",
                           "unet_plain.parameters.pt"}) {
    const Ended ended = tiller_expect(0, unet(data_file(name), kReference, kHeads));
    EXPECT_THAT(ended.out,
                AllOf(HasSubstr("out    [3,3,16,16]"), HasSubstr("agrees within 0.0001")));
    EXPECT_THAT(ended.out, Not(HasSubstr("DIFFERS")));
  }
}

TEST(Verify, JsonHoldsWhatTheTextSays) {
  const auto json =
      tiller_expect(
          0, unet(data_file("unet_cond.pt"), data_file("unet_cond.npz"),
                  {"--num_head_channels", "32", "--json", "--use_new_attention_order", "True"}))
          .json();
  EXPECT_EQ(json["passed"], true);
  EXPECT_EQ(json["tolerance"], 1e-4);
  ASSERT_EQ(json["results"].size(), 1u);
  EXPECT_EQ(json["results"][0]["name"], "out");
  EXPECT_EQ(json["results"][0]["shape"], "[3,6,16,16]");
  EXPECT_LT(json["results"][0]["relative_l2"], 1e-5);
  EXPECT_GT(json["results"][0]["max_absolute"], 0);
  EXPECT_EQ(json["first_divergence"], nullptr);
  EXPECT_TRUE(json["warnings"].empty());
}

TEST(Verify, ATighterToleranceFails) {
  const Ended ended =
      tiller_expect(1, unet(kModel, kReference, {"--num_heads", "4", "--tolerance", "1e-9"}));
  EXPECT_THAT(ended.out, AllOf(HasSubstr("DIFFERS"), HasSubstr("does NOT agree within 1e-09")));
}

TEST(Verify, AClassifiersLogitsAndGradient) {
  const Ended text = tiller_expect(0, classifier(data_file("classifier_attention.npz")));
  EXPECT_THAT(text.out, AllOf(HasSubstr("logits  [3,10]"), HasSubstr("grad    [3,3,16,16]")));
  const auto json =
      tiller_expect(0, classifier(data_file("classifier_attention.npz"), {"--json"})).json();
  ASSERT_EQ(json["results"].size(), 2u);
  for (const auto& result : json["results"]) EXPECT_LT(result["relative_l2"], 1e-5);
}

TEST(Verify, HalfPrecisionHasItsOwnTolerance) {
  const Ended ended = tiller_expect(0, unet(kModel, data_file("unet_plain.fp16.npz"),
                                            {"--num_heads", "4", "--use_fp16", "True"}));
  EXPECT_THAT(ended.err, HasSubstr("half precision: the default tolerance is 0.01"));
  tiller_expect(0,
                classifier(data_file("classifier_attention.fp16.npz"), {"--classifier_use_fp16"}));
  // A half torso must not pass for a full one.
  tiller_expect(
      1, unet(kModel, kReference, {"--num_heads", "4", "--use_fp16", "--tolerance", "1e-4"}));
  // Weights that were only stored in half are computed in f32.
  tiller_expect(0, unet(data_file("unet_plain.half.pt"), kReference,
                        {"--num_heads", "4", "--tolerance", "1e-2"}));
}

TEST(Verify, ActivationsAgreeBlockByBlock) {
  const Ended ended = tiller_expect(
      0, unet(kModel, kReference,
              {"--num_heads", "4", "--activations", data_file("unet_plain.activations.npz")}));
  EXPECT_THAT(ended.out, AllOf(HasSubstr("input_blocks.3.1"), HasSubstr("all 26 blocks agree")));
}

TEST(Verify, NamesTheFirstBlockThatDiverges) {
  const TemporaryFolder folder;
  auto tensors = testing::all_tensors(Checkpoint::open(kModel));
  tensor_named(tensors, "middle_block.1.proj_out.weight").data<float>()[7] += 0.5F;
  write_pt(folder / "changed.pt", tensors);
  const Words arguments =
      unet(folder / "changed.pt", kReference,
           {"--num_heads", "4", "--activations", data_file("unet_plain.activations.npz")});
  EXPECT_THAT(tiller_expect(1, arguments).out,
              AllOf(HasSubstr("the first block that diverges is middle_block.1\n"),
                    HasSubstr("does NOT agree"), Not(HasSubstr("output_blocks"))));
  Words with_json = arguments;
  with_json.emplace_back("--json");
  const auto json = tiller_expect(1, with_json).json();
  EXPECT_EQ(json["passed"], false);
  EXPECT_EQ(json["first_divergence"], "middle_block.1");
  for (const auto& block : json["blocks"]) {
    if (block["name"] == "middle_block.1") break;
    EXPECT_EQ(block["passed"], true) << block;
  }
}

TEST(Verify, TheOtherOrderOfQkvIsTried) {
  const Words heads = {"--num_head_channels", "32"};
  const Ended ended =
      tiller_expect(1, unet(data_file("unet_cond.pt"), data_file("unet_cond.npz"), heads));
  EXPECT_THAT(ended.err,
              AllOf(HasSubstr("assumed legacy qkv order"),
                    HasSubstr("with --use_new_attention_order True the network agrees")));
  // Not when the user said which it is.
  const Ended given =
      tiller_expect(1, unet(data_file("unet_cond.pt"), data_file("unet_cond.npz"),
                            {"--num_head_channels", "32", "--use_new_attention_order", "False"}));
  EXPECT_THAT(given.err, Not(HasSubstr("the network agrees")));
}

TEST(Verify, NaNWeightsAreWarnedOf) {
  const TemporaryFolder folder;
  auto tensors = testing::all_tensors(Checkpoint::open(kModel));
  tensor_named(tensors, "out.2.bias").data<float>()[1] = std::nanf("");
  write_pt(folder / "nan.pt", tensors);
  const Ended ended =
      tiller_expect(1, unet(folder / "nan.pt", kReference, {"--num_heads", "4", "--json"}));
  EXPECT_THAT(ended.err,
              AllOf(HasSubstr("warning: "), HasSubstr("1 NaN"), HasSubstr("out.2.bias")));
  EXPECT_EQ(ended.json()["warnings"].size(), 1u);
  EXPECT_EQ(ended.json()["results"][0]["relative_l2"], nullptr);  // infinite
}

TEST(Verify, TheOtherKindOfNetworkNamesItsFlag) {
  EXPECT_THAT(tiller_expect(3, unet(data_file("classifier_attention.pt"), kReference)).err,
              HasSubstr("holds a classifier"));
  EXPECT_THAT(tiller_expect(3, {"verify", "--classifier_path", kModel, "--reference",
                                data_file("classifier_attention.npz")})
                  .err,
              HasSubstr("give it with --model_path"));
  EXPECT_THAT(tiller_expect(2, {"verify", "--classifier_path", kModel, "--model_path", kModel,
                                "--reference", kReference})
                  .err,
              HasSubstr("one network"));
}

TEST(Verify, AFlagThatContradictsTheShapesIsNamed) {
  EXPECT_THAT(tiller_expect(2, unet(kModel, kReference, {"--num_channels", "64"})).err,
              HasSubstr("--num_channels 64 contradicts the checkpoint, whose shapes say 32"));
}

// A reference file with one array changed, added (a new name) or left out (an empty tensor).
class Reference {
 public:
  Reference(const TemporaryFolder& folder, const std::string& source) : path_(folder / "r.npz") {
    const NpzReader file = NpzReader::open(source);
    for (const ArrayInfo& info : file.arrays()) arrays_[info.name] = file.read(info.name);
  }
  std::string with(const std::string& name, const Tensor& value) const {
    auto arrays = arrays_;
    if (value)
      arrays[name] = value;
    else
      arrays.erase(name);
    NpzWriter writer(path_);
    for (const auto& [key, array] : arrays) writer.write(key, array);
    writer.finish();
    return path_;
  }
  std::string without(const std::string& name) const { return with(name, {}); }

 private:
  std::string path_;
  std::map<std::string, Tensor> arrays_;
};

TEST(Verify, AReferenceThatDoesNotFitSaysWhatMustChange) {
  const TemporaryFolder folder;
  const Reference plain(folder, kReference), cond(folder, data_file("unet_cond.npz"));
  const auto says = [](const std::string& model, const std::string& reference,
                       const std::string& words) {
    const Ended ended = tiller_expect(3, unet(data_file(model), reference));
    EXPECT_THAT(ended.err, HasSubstr(words));
    EXPECT_EQ(ended.out, "");
  };
  const char* model = "unet_plain.pt";
  says(model, plain.without("x"), "it has no array x; it needs x [N,C,H,W]");
  says(model, plain.without("t"), "it has no array t");
  says(model, plain.without("out"), "a diffusion network's file needs out");
  says(model, plain.with("x", Tensor::zeros({3, 16, 16})), "x is [3,16,16]; it must be [N,C,H,W]");
  says(model, plain.with("x", Tensor::zeros({0, 3, 16, 16})), "there is nothing in it");
  says(model, plain.with("x", Tensor::zeros({3, 4, 16, 16})),
       "x has 4 channels, the network takes 3");
  says(model, plain.with("x", Tensor::zeros({3, 3, 15, 16})), "multiples of 2");
  says(model, plain.with("x", Tensor::zeros({3, 3, 16, 16}, DType::i64)), "floating-point");
  says(model, plain.with("t", Tensor::zeros({4})), "t is [4], but x has 3 pictures");
  says(model, plain.with("t", Tensor::zeros({3}, DType::boolean)), "booleans");
  says(model, plain.with("y", Tensor::zeros({3}, DType::i64)), "the network knows no classes");
  says(model, plain.with("low_res", Tensor::zeros({3, 3, 4, 4})), "no super-resolution network");
  says(model, plain.with("out", Tensor::zeros({3, 6, 16, 16})),
       "out is [3,6,16,16], but the network gives [3,3,16,16]");
  says("unet_cond.pt", cond.without("y"), "class-conditional (1000 classes)");
  says("unet_cond.pt", cond.with("y", Tensor::zeros({2}, DType::i64)), "y is [2]");
  says("unet_cond.pt", cond.with("y", Tensor::from(std::vector<std::int64_t>{0, 1000, 1}, {3})),
       "class 1000, the network knows 0 to 999");
  says("unet_cond.pt", cond.with("y", Tensor::from(std::vector<float>{0, 1.5F, 1}, {3})), "1.5");
  says("unet_cond.pt", cond.with("y", Tensor::from(std::vector<std::int64_t>{0, -1, 1}, {3})),
       "-1");
  says(model, data_file("unet_plain.pt"), "without numpy arrays");
  says(model, folder / "none.npz", "no such file");
}

TEST(Verify, AClassifiersReferenceThatDoesNotFit) {
  const TemporaryFolder folder;
  const Reference file(folder, data_file("classifier_attention.npz"));
  const auto says = [](const std::string& reference, const std::string& words) {
    EXPECT_THAT(tiller_expect(3, classifier(reference)).err, HasSubstr(words));
  };
  says(file.without("y"), "grad but no y");
  says(file.with("logits", Tensor::zeros({3, 11})), "but the network gives [3,10]");
  says(file.with("grad", Tensor::zeros({3, 16, 16, 3})), "but the network gives [3,3,16,16]");
  says(file.with("x", Tensor::zeros({3, 3, 32, 32})), "16x16 only");
  says(kReference, "needs logits, grad, or both");
  tiller_expect(0, classifier(file.without("grad")));  // either is enough
  tiller_expect(0, classifier(file.without("logits")));
}

TEST(Verify, ActivationsThatDoNotFit) {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& name) {
    NpzWriter writer(folder / "a.npz");
    writer.write(name, Tensor::zeros({3, 5}));
    writer.finish();
    return unet(kModel, kReference, {"--num_heads", "4", "--activations", folder / "a.npz"});
  };
  EXPECT_THAT(tiller_expect(3, write("nonsense")).err, HasSubstr("named like a module"));
  EXPECT_THAT(tiller_expect(3, write("time_embed")).err,
              HasSubstr("time_embed: the network gives [3,128], the reference holds [3,5]"));
}

// Label and timestep arrays come in whatever type somebody's script saved.
TEST(Verify, LabelsAndTimestepsOfAnyType) {
  const TemporaryFolder folder;
  const NpzReader source = NpzReader::open(data_file("unet_cond.npz"));
  const Reference cond(folder, data_file("unet_cond.npz"));
  const auto y = source.read("y").to_vector<std::int64_t>();
  const Words flags = {"--num_head_channels", "32", "--use_new_attention_order", "True"};
  tiller_expect(
      0, unet(data_file("unet_cond.pt"),
              cond.with("y", Tensor::from(std::vector<float>(y.begin(), y.end()), {3})), flags));
  tiller_expect(
      0, unet(data_file("unet_cond.pt"),
              cond.with("y", Tensor::from(std::vector<std::int32_t>(y.begin(), y.end()), {3})),
              flags));
}

// Every network of the reference folder, with the flags that guided-diffusion's scripts were given.
TEST(Verify, ReferenceFolder) {
  const char* folder = std::getenv("TILLER_REFERENCE_DIR");
  if (!folder) GTEST_SKIP() << "TILLER_REFERENCE_DIR is not set";
  const std::string base = std::string(folder) + "/";
  std::ifstream index(base + "index.json");
  const nlohmann::json entries = nlohmann::json::parse(index);
  int networks = 0;
  for (const auto& [key, entry] : entries.items()) {
    const bool half = entry["kind"] == "half";
    const std::string model = half ? entry["model"].get<std::string>() : key;
    const auto& source = entries[model];
    const std::string kind = source.value("kind", "");
    if (kind != "unet" && kind != "superres" && kind != "classifier") continue;
    Words words = {"verify", kind == "classifier" ? "--classifier_path" : "--model_path",
                   base + model + ".pt", "--reference", base + key + ".npz"};
    // Some networks were built by a constructor's own arguments; their shapes tell all but the heads.
    if (source["flags"].contains("model_channels"))
      words.insert(words.end(), {"--classifier_num_head_channels",
                                 std::to_string(source["flags"]["num_head_channels"].get<int>())});
    else
      for (const auto& [flag, value] : source["flags"].items())
        words.insert(words.end(),
                     {"--" + flag, value.is_string() ? value.get<std::string>() : value.dump()});
    if (half) words.insert(words.end(), {"--" + entry["flag"].get<std::string>(), "True"});
    tiller_expect(0, words);
    ++networks;
  }
  EXPECT_GE(networks, 15);
}

}  // namespace
}  // namespace tiller
