// Reading an architecture off names and shapes, and what is said when they do not fit.
#include "nn/infer.h"

#include <gmock/gmock.h>

#include <limits>

#include "tests/nn/reference.h"
#include "tests/runtime/files_util.h"

namespace tiller::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using tiller::testing::error_of;

Checkpoint open(const std::string& name) { return Checkpoint::open(find_reference(name).value()); }

// What shapes cannot tell has to be given: the rest must come out right.
class Infer : public ::testing::TestWithParam<const char*> {};

TEST_P(Infer, FindsTheConfigurationOfTheReference) {
  const auto c = find_case(GetParam());
  if (!c) GTEST_SKIP() << kNoReference;
  const Checkpoint file = open(c->checkpoint);
  if (c->is_classifier) {
    const GivenFlags given = {
        {"image_size", std::to_string(c->classifier.image_size)},
        {"classifier_num_head_channels", std::to_string(c->classifier.num_head_channels)}};
    const Inference found = infer(file, given);
    EXPECT_EQ(found.kind, NetworkKind::classifier);
    EXPECT_EQ(to_json(found.classifier), to_json(c->classifier));
    EXPECT_TRUE(found.assumed.empty());
    return;
  }
  UNetConfig config = c->unet;
  // Resolutions below the lowest level leave no trace.
  std::erase_if(config.attention_downsample, [&](std::int64_t downsample) {
    return downsample > std::int64_t{1} << (config.channel_mult.size() - 1);
  });
  GivenFlags given = {
      {config.super_resolution ? "large_size" : "image_size", std::to_string(config.image_size)},
      {"num_heads", std::to_string(config.num_heads)},
      {"num_head_channels", std::to_string(config.num_head_channels)},
      {"num_heads_upsample", std::to_string(config.num_heads_upsample)},
      {"dropout", std::to_string(config.dropout)},
      {"use_new_attention_order", config.qkv_order == QkvOrder::split ? "True" : "False"}};
  const Inference found = infer(file, given);
  EXPECT_EQ(found.kind,
            config.super_resolution ? NetworkKind::super_resolution : NetworkKind::unet);
  EXPECT_EQ(to_json(found.unet), to_json(config));
  EXPECT_TRUE(found.assumed.empty());
  // Without any flag, every value that was assumed is said, with the flag that changes it.
  const Inference alone = infer(file);
  std::string said;
  for (const std::string& line : alone.assumed) said += line + "\n";
  EXPECT_THAT(said, AllOf(HasSubstr("--num_head"), HasSubstr("--use_new_attention_order"),
                          HasSubstr(config.super_resolution ? "--large_size" : "--image_size")));
}

INSTANTIATE_TEST_SUITE_P(PyTorch, Infer,
                         ::testing::Values("unet_plain", "unet_cond", "unet_64", "unet_heads_up",
                                           "unet_fraction", "superres_64", "classifier_64",
                                           "classifier_adaptive", "classifier_attention",
                                           "classifier_spatial", "classifier_spatial_v2"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Infer, MetadataSettlesEverything) {
  const Case c = find_case("unet_cond").value();
  Inference known;
  known.unet = c.unet;
  known.unet.dropout = 0.25;
  known.diffusion = {{"noise_schedule", "cosine"}};
  const Inference found = infer(named_shapes(open("unet_cond.pt")), config_metadata(known));
  EXPECT_EQ(to_json(found.unet), to_json(known.unet));
  EXPECT_EQ(found.diffusion, known.diffusion);
  EXPECT_TRUE(found.assumed.empty());
  known.unet.num_res_blocks = 2;
  ErrorKind kind{};
  EXPECT_THAT(
      error_of([&] { infer(named_shapes(open("unet_cond.pt")), config_metadata(known)); }, &kind),
      HasSubstr("contradicts"));
  EXPECT_EQ(kind, ErrorKind::checkpoint);
}

TEST(Infer, AFlagThatContradictsTheShapesIsNamed) {
  struct Wrong {
    const char* file;
    const char* flag;
    const char* value;
  };
  for (const Wrong& wrong :
       {Wrong{"unet_cond.pt", "num_channels", "64"}, Wrong{"unet_cond.pt", "num_res_blocks", "2"},
        Wrong{"unet_cond.pt", "channel_mult", "1,2,2"},
        Wrong{"unet_cond.pt", "attention_resolutions", "16"},
        Wrong{"unet_cond.pt", "resblock_updown", "False"},
        Wrong{"unet_cond.pt", "use_scale_shift_norm", "False"},
        Wrong{"unet_cond.pt", "class_cond", "False"}, Wrong{"unet_cond.pt", "num_classes", "10"},
        Wrong{"unet_cond.pt", "learn_sigma", "False"}, Wrong{"unet_cond.pt", "in_channels", "1"},
        Wrong{"unet_plain.pt", "class_cond", "True"},
        Wrong{"classifier_attention.pt", "classifier_pool", "spatial"},
        Wrong{"classifier_attention.pt", "classifier_width", "64"},
        Wrong{"classifier_attention.pt", "classifier_depth", "2"},
        Wrong{"classifier_attention.pt", "num_classes", "1000"},
        Wrong{"classifier_attention.pt", "image_size", "32"}}) {
    ErrorKind kind{};
    const std::string message = error_of(
        [&] {
          infer(open(wrong.file), {{wrong.flag, wrong.value}});
        },
        &kind);
    EXPECT_THAT(message, HasSubstr(std::string("--") + wrong.flag + " " + wrong.value));
    EXPECT_EQ(kind, ErrorKind::usage) << message;
  }
  EXPECT_THAT(error_of([] {
                infer(open("unet_cond.pt"), {{"num_heads", "many"}});
              }),
              HasSubstr("--num_heads many: expected a whole number"));
  EXPECT_THAT(error_of([] {
                infer(open("unet_cond.pt"), {{"num_head_channels", "48"}});
              }),
              HasSubstr("--num_head_channels 48 does not divide"));
}

// A network asked for by flags, and a file that does not fit: the difference in flags.
TEST(Mismatch, NamesTheFlagThatWouldExplainIt) {
  const auto message = [](UNetConfig config) {
    ErrorKind kind{};
    std::string text =
        error_of([&] { UNet(config, *load_parameters(open("unet_cond.pt"))); }, &kind);
    EXPECT_EQ(kind, ErrorKind::checkpoint);
    return text;
  };
  const UNetConfig right = find_case("unet_cond")->unet;
  UNetConfig wrong = right;
  wrong.resblock_updown = false;
  EXPECT_THAT(message(wrong), AllOf(HasSubstr("unet_cond.pt"), HasSubstr("missing from the file"),
                                    HasSubstr("input_blocks.2.0.op.weight"),
                                    HasSubstr("--resblock_updown True (the network has False)")));
  wrong = right;
  wrong.num_classes = 0;
  EXPECT_THAT(message(wrong), AllOf(HasSubstr("label_emb.weight"),
                                    HasSubstr("--class_cond True (the network has False)")));
  wrong = right;
  wrong.out_channels = 3;
  EXPECT_THAT(message(wrong), AllOf(HasSubstr("out.2.weight [3,32,3,3] (the file has [6,32,3,3])"),
                                    HasSubstr("--learn_sigma True")));
  wrong = right;
  wrong.use_scale_shift_norm = false;
  EXPECT_THAT(message(wrong), HasSubstr("--use_scale_shift_norm True"));
  wrong = right;
  wrong.attention_downsample = {4};
  EXPECT_THAT(message(wrong), HasSubstr("attention at 1/2, 1/4"));
  wrong = right;
  wrong.channel_mult = {1, 2, 2};
  EXPECT_THAT(message(wrong), HasSubstr("--channel_mult 1,1,2 (the network has 1,2,2)"));
}

TEST(Mismatch, OfAMisspeltNameTheNearestIsShown) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  const Checkpoint file = open("unet_plain.pt");
  for (const FileTensor& tensor : file.tensors()) {
    std::string name = tensor.name;
    if (name == "middle_block.1.proj_out.weight") name = "middle_block.1.projout.weight";
    tensors.emplace_back(name, file.read(tensor));
  }
  const Checkpoint misspelt = Checkpoint::from_tensors(tensors);
  EXPECT_THAT(error_of([&] { UNet(find_case("unet_plain")->unet, *load_parameters(misspelt)); }),
              AllOf(HasSubstr("1 missing from the file: middle_block.1.proj_out.weight"),
                    HasSubstr("the file has middle_block.1.projout.weight")));
}

TEST(Load, WarnsOfNaN) {
  const Case c = find_case("unet_plain").value();
  std::vector<std::pair<std::string, Tensor>> tensors;
  const Checkpoint file = open("unet_plain.pt");
  for (const FileTensor& tensor : file.tensors())
    tensors.emplace_back(tensor.name, file.read(tensor).clone());
  tensors[3].second.data<float>()[1] = std::numeric_limits<float>::quiet_NaN();
  tensors[9].second.data<float>()[0] = std::numeric_limits<float>::infinity();
  const auto source = load_parameters(Checkpoint::from_tensors(tensors));
  const UNet network(c.unet, *source);
  ASSERT_EQ(source->warnings().size(), 1u);
  EXPECT_THAT(source->warnings().front(),
              AllOf(HasSubstr("2 NaN or infinite values in 2 of 128 tensors"),
                    HasSubstr("first in " + tensors[3].first)));
}

TEST(Load, KeepsParametersInF32OrF64Only) {
  EXPECT_THROW(load_parameters(open("unet_plain.pt"), DType::f16), Error);
}

TEST(Infer, AnotherFamilyIsNamed) {
  const auto says = [](std::vector<NamedShape> tensors) {
    ErrorKind kind{};
    const std::string text = error_of([&] { infer(tensors); }, &kind);
    EXPECT_EQ(kind, ErrorKind::checkpoint) << text;
    return text;
  };
  EXPECT_THAT(says({{"model.diffusion_model.input_blocks.0.0.weight", {320, 4, 3, 3}}}),
              HasSubstr("latent diffusion"));
  EXPECT_THAT(says({{"down_blocks.0.resnets.0.conv1.weight", {128, 3, 3, 3}},
                    {"conv_in.weight", {128, 3, 3, 3}}}),
              HasSubstr("diffusers"));
  EXPECT_THAT(says({{"map_layer0.weight", {768, 192}}}), HasSubstr("EDM"));
  EXPECT_THAT(says({{"fc.weight", {10, 5}}}), HasSubstr("its 1 tensors start with fc.weight"));
  EXPECT_THAT(says({}), HasSubstr("no tensors"));
  std::vector<NamedShape> consistency = named_shapes(open("unet_plain.pt"));
  for (NamedShape& tensor : consistency)
    if (tensor.name.ends_with(".qkv.weight")) tensor.shape.push_back(1);
  EXPECT_THAT(says(consistency), HasSubstr("consistency_models"));
  // A file that is ours but for one layer is refused, not half understood.
  std::vector<NamedShape> partial = named_shapes(open("unet_plain.pt"));
  partial.pop_back();
  EXPECT_THAT(says(partial), HasSubstr("1 missing from the file: out.2.bias"));
}

// Depths that the shapes of an encoder leave open have to be said.
TEST(Infer, AnAmbiguousDepthIsAskedFor) {
  ClassifierConfig config = find_case("classifier_attention")->classifier;
  config.channel_mult = {1, 1, 1, 1, 1, 1};
  config.num_res_blocks = 1;
  config.attention_downsample = {};
  config.image_size = 64;
  std::vector<NamedShape> shapes;
  const Classifier network(config, *list_parameters());
  for (const Parameter& p : network.parameters().all()) shapes.push_back({p.key, p.file_shape});
  ErrorKind kind{};
  EXPECT_THAT(error_of([&] { infer(shapes); }, &kind), HasSubstr("--classifier_depth"));
  EXPECT_EQ(kind, ErrorKind::usage);
  const Inference found =
      infer(shapes, {}, {{"classifier_depth", "1"}, {"classifier_num_head_channels", "32"}});
  EXPECT_EQ(found.classifier.channel_mult, config.channel_mult);
}

TEST(Config, JsonGoesThereAndBack) {
  UNetConfig unet = find_case("unet_cond")->unet;
  unet.channel_mult = {0.5, 1, 2};
  unet.torso = DType::bf16;
  unet.use_checkpoint = true;
  EXPECT_EQ(unet_config_from_json(to_json(unet)), unet);
  ClassifierConfig classifier = find_case("classifier_attention")->classifier;
  classifier.pool = Pool::spatial_v2;
  EXPECT_EQ(classifier_config_from_json(to_json(classifier)), classifier);
  EXPECT_THAT(error_of([] { unet_config_from_json("{}"); }), HasSubstr("missing"));
  EXPECT_THAT(error_of([] { unet_config_from_json("nonsense"); }), HasSubstr("no JSON object"));
  std::string unknown = to_json(unet);
  unknown.insert(1, "\"colour\": 3, ");
  EXPECT_THAT(error_of([&] { unet_config_from_json(unknown); }), HasSubstr("colour"));
}

TEST(Config, WhatCannotBeBuiltIsRefusedByFlag) {
  const auto says = [](const std::function<void(UNetConfig&)>& change) {
    UNetConfig config = find_case("unet_cond")->unet;
    change(config);
    ErrorKind kind{};
    const std::string text = error_of([&] { check(config); }, &kind);
    EXPECT_EQ(kind, ErrorKind::usage);
    return text;
  };
  EXPECT_THAT(says([](UNetConfig& c) { c.model_channels = 48; }), HasSubstr("--num_channels 48"));
  EXPECT_THAT(says([](UNetConfig& c) { c.channel_mult = {}; }), HasSubstr("--channel_mult"));
  EXPECT_THAT(says([](UNetConfig& c) { c.num_head_channels = 48; }),
              HasSubstr("--num_head_channels 48"));
  EXPECT_THAT(says([](UNetConfig& c) {
                c.num_head_channels = -1;
                c.num_heads = 5;
              }),
              HasSubstr("--num_heads 5"));
  EXPECT_THAT(says([](UNetConfig& c) { c.image_size = 18; }), HasSubstr("--image_size 18"));
  EXPECT_THAT(says([](UNetConfig& c) { c.dropout = 1; }), HasSubstr("--dropout 1"));
  EXPECT_THAT(says([](UNetConfig& c) { c.num_res_blocks = 0; }), HasSubstr("--num_res_blocks 0"));
}

TEST(Forward, RefusesInputsThatDoNotFit) {
  const UNet unet(find_case("unet_cond")->unet, *list_parameters());
  const Classifier classifier(find_case("classifier_attention")->classifier, *list_parameters());
  const auto picture = [](std::int64_t h, std::int64_t w, std::int64_t c) {
    return Tensor::empty({2, h, w, c}, DType::f32, kMeta);
  };
  const Tensor t = Tensor::empty({2}, DType::f32, kMeta);
  const Tensor y = Tensor::empty({2}, DType::i64, kMeta);
  EXPECT_THAT(error_of([&] { unet(picture(18, 16, 3), t, y); }), HasSubstr("multiples of 4"));
  EXPECT_THAT(error_of([&] { unet(picture(16, 16, 4), t, y); }), HasSubstr("[N,H,W,3]"));
  EXPECT_THAT(error_of([&] { unet(picture(16, 16, 3), t); }), HasSubstr("needs labels"));
  EXPECT_THAT(error_of([&] { unet(picture(16, 16, 3), y, y); }), HasSubstr("timesteps"));
  EXPECT_THAT(error_of([&] { unet(picture(16, 16, 3), t, y, picture(4, 4, 3)); }),
              HasSubstr("no super-resolution"));
  EXPECT_THAT(error_of([&] { classifier(picture(32, 32, 3), t); }),
              AllOf(HasSubstr("16 positions"), HasSubstr("32x32")));
  UNetConfig config = find_case("unet_cond")->unet;
  config.super_resolution = true;
  const UNet super(config, *list_parameters());
  EXPECT_THAT(error_of([&] { super(picture(16, 16, 3), t, y); }), HasSubstr("needs low_res"));
  EXPECT_EQ(super(picture(16, 16, 3), t, y, picture(5, 7, 3)).shape(), (Shape{2, 16, 16, 6}));
}

}  // namespace
}  // namespace tiller::test
