// tiller graph, gradcheck and devices, through the program.
#include <cstdlib>
#include <regex>
#include <set>
#include <sstream>

#include "kernels/registry.h"
#include "runtime/env.h"
#include "tests/tools/program_util.h"

namespace tiller {
namespace {

using ::testing::AllOf;
using testing::data_file;
using testing::Ended;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TemporaryFolder;
using testing::tiller_expect;
using Words = std::vector<std::string>;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

TEST(Graph, DotIsAGraphWhoseEdgesHaveEnds) {
  const TemporaryFolder folder;
  for (const Words& network :
       {Words{}, Words{"--model_path", data_file("unet_cond.pt")},
        Words{"--classifier_path", data_file("classifier_attention.pt"), "--parameters"}}) {
    Words words = {"graph", "--dot"};
    words.insert(words.end(), network.begin(), network.end());
    const std::string dot = tiller_expect(0, words).out;
    EXPECT_EQ(std::count(dot.begin(), dot.end(), '{'), std::count(dot.begin(), dot.end(), '}'));
    EXPECT_EQ(dot.rfind("digraph tape {\n", 0), 0u);
    std::set<std::string> nodes;
    std::size_t edges = 0;
    const std::regex node("^ *(s[0-9]+) \\[label=\".*\"(, [a-z]+=(\".*\"|[a-z]+))?\\];$");
    const std::regex edge("^  (s[0-9]+) -> (s[0-9]+);$");
    std::smatch match;
    for (const std::string& line : lines_of(dot))
      if (std::regex_match(line, match, node)) {
        EXPECT_TRUE(nodes.insert(match[1]).second) << line;
      }
    for (const std::string& line : lines_of(dot))
      if (std::regex_match(line, match, edge)) {
        ++edges;
        EXPECT_TRUE(nodes.contains(match[1]) && nodes.contains(match[2])) << line;
      }
    EXPECT_GT(nodes.size(), 40u);
    EXPECT_GE(edges + 1, nodes.size());  // connected, down from the leaves
    EXPECT_THAT(dot, HasSubstr("label=\"x\", shape=ellipse"));
    if (std::system("command -v dot >/dev/null 2>&1") == 0) {  // Graphviz, where it is installed
      std::ofstream(folder / "g.dot") << dot;
      EXPECT_EQ(std::system(("dot -Tsvg -o /dev/null " + (folder / "g.dot")).c_str()), 0);
    }
  }
}

// The sum of the nodes' bytes, in KiB with one digit, and the total that the last line gives.
std::pair<double, double> kept(const std::string& table) {
  double sum = 0, total = 0;
  std::smatch match;
  for (const std::string& line : lines_of(table))
    if (std::regex_search(line, match, std::regex("operations keep ([0-9.]+) KiB")))
      total = std::stod(match[1]);
    else if (std::regex_search(line, match, std::regex(" ([0-9.]+) KiB ")))
      sum += std::stod(match[1]);
  return {sum, total};
}

TEST(Graph, ForGuidanceAConvolutionKeepsNothing) {
  const Words words = {"graph", "--model_path", data_file("unet_plain.pt")};
  const std::string guided = tiller_expect(0, words).out;
  int convolutions = 0;
  for (const std::string& line : lines_of(guided))
    if (line.rfind("conv2d", 0) == 0) {
      ++convolutions;
      EXPECT_THAT(line, HasSubstr(" 0.0 KiB ")) << line;
    }
  EXPECT_GT(convolutions, 10);
  Words training = words;
  training.emplace_back("--parameters");
  const std::string trained = tiller_expect(0, training).out;
  const auto [sum, total] = kept(guided);
  EXPECT_GE(sum, total);  // what two nodes keep counts once
  EXPECT_LT(sum, 1.2 * total);
  EXPECT_GT(total, 100);
  EXPECT_GT(kept(trained).second, 1.5 * total);
  // Twice the batch keeps twice the activations (the constants it refers to are the network's).
  Words two = words;
  two.insert(two.end(), {"--batch_size", "2"});
  EXPECT_NEAR(kept(tiller_expect(0, two).out).second / total, 2, 0.05);
}

TEST(Graph, OfANetworkThatFlagsDescribe) {
  EXPECT_THAT(tiller_expect(0, {"graph"}).err, HasSubstr("a small UNet"));
  const Ended unet = tiller_expect(0, {"graph", "--image_size", "64", "--num_channels", "32",
                                       "--num_res_blocks", "1", "--learn_sigma", "True"});
  EXPECT_EQ(unet.err, "");
  EXPECT_THAT(unet.out, AllOf(HasSubstr("f32[1,64,64,6]"), HasSubstr("f32[1,8,8,128]")));
  EXPECT_THAT(tiller_expect(0, {"graph", "--large_size", "64", "--small_size", "16",
                                "--num_channels", "32", "--num_res_blocks", "1"})
                  .out,
              HasSubstr("f32[1,64,64,3]"));
  EXPECT_THAT(
      tiller_expect(0, {"graph", "--classifier_width", "64", "--classifier_depth", "1"}).out,
      HasSubstr("f32[1,1000]"));
  EXPECT_THAT(tiller_expect(2, {"graph", "--image_size", "48"}).err, HasSubstr("--channel_mult"));
}

TEST(Graph, ToAFile) {
  const TemporaryFolder folder;
  const std::string out = folder / "g.dot";
  const Ended ended = tiller_expect(0, {"graph", "--dot", "--out", out});
  EXPECT_EQ(ended.out, "");
  EXPECT_THAT(ended.err, HasSubstr("operations written to " + out));
  const auto bytes = testing::read_bytes(out);
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), tiller_expect(0, {"graph", "--dot"}).out);
  tiller_expect(1, {"graph", "--out", folder / "none/g.txt"});
  tiller_expect(3, {"graph", "--model_path", data_file("files/page.pt")});
  tiller_expect(3, {"graph", "--model_path", data_file("loss_scale_opt.fp16.pt")});
  tiller_expect(2, {"graph", "--model_path", "a.pt", "--classifier_path", "b.pt"});
}

TEST(Gradcheck, ByOperation) {
  const Ended ended = tiller_expect(0, {"gradcheck", "softmax"});
  EXPECT_THAT(ended.out, AllOf(HasSubstr("softmax"), HasSubstr(" 0 failed (tolerance 1e-06)"),
                               Not(HasSubstr("conv2d")), Not(HasSubstr("tiny"))));
  EXPECT_THAT(tiller_expect(2, {"gradcheck", "sofmax"}).err, HasSubstr("contains \"sofmax\""));
  EXPECT_THAT(tiller_expect(2, {"gradcheck", "silu", "--device", "meta"}).err, HasSubstr("cpu"));
}

TEST(Gradcheck, NothingPassesZeroTolerance) {
  const Ended ended = tiller_expect(1, {"gradcheck", "silu", "--tolerance", "0", "--json"});
  const auto json = ended.json();
  EXPECT_GT(json.size(), 5u);
  EXPECT_TRUE(std::any_of(json.begin(), json.end(),
                          [](const auto& line) { return line["passed"] == false; }));
  EXPECT_NE(tiller_expect(0, {"gradcheck", "silu", "--json"}).out,
            tiller_expect(0, {"gradcheck", "silu", "--json", "--seed", "5"}).out);
}

TEST(Gradcheck, WholeNetworks) {
  const auto json =
      tiller_expect(0, {"gradcheck", "softmax", "--network", "classifier", "--json"}).json();
  EXPECT_THAT(json.back()["name"], HasSubstr("tiny classifier"));
  EXPECT_EQ(json.back()["passed"], true);
  EXPECT_GT(json.size(), 1u);
  EXPECT_THAT(json.dump(), Not(HasSubstr("tiny UNet")));
}

TEST(Devices, AllFourAndWhyNot) {
  const Ended ended = tiller_expect(0, {"devices"});
  for (const char* device : {"cpu ", "cuda:0 ", "simt ", "meta "})
    EXPECT_THAT(ended.out, HasSubstr(device));
  EXPECT_EQ(ended.out.rfind("cpu     available", 0), 0u);
  for (const EnvVariable& variable : environment_variables())
    EXPECT_THAT(ended.out, HasSubstr(variable.name));
  EXPECT_THAT(ended.out, Not(HasSubstr("kernel rows")));
}

TEST(Devices, EveryRowOfEveryOperation) {
  const std::string text = tiller_expect(0, {"devices", "--rows"}).out;
  const auto json = tiller_expect(0, {"devices", "--json"}).json();
  EXPECT_EQ(json["devices"].size(), 4u);
  EXPECT_EQ(json["devices"][0]["available"], true);
  EXPECT_EQ(json["environment"].size(), environment_variables().size());
  std::size_t rows = 0;
  for (const OpBase* op : all_ops()) {
    EXPECT_THAT(text, HasSubstr(fmt::format("  {} ", op->name)));
    for (const RowInfo& row : op->row_table(DeviceType::cpu)) {
      ++rows;
      EXPECT_THAT(text, HasSubstr(row.name));
    }
  }
  std::size_t listed = 0;
  for (const auto& row : json["rows"]) listed += row["device"] == "cpu";
  EXPECT_EQ(listed, rows);
}

}  // namespace
}  // namespace tiller
