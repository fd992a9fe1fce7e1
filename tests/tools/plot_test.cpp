#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <regex>

#include "runtime/files/image.h"
#include "tests/tools/program_util.h"
#include "tools/plot/curves.h"
#include "tools/plot/ticks.h"

namespace tiller {
namespace {

using ::testing::AllOf;
using testing::Bytes;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::IsNan;
using ::testing::Not;
using ::testing::Pointwise;
using testing::read_bytes;
using testing::TemporaryFolder;
using testing::tiller_expect;

void write_text(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  testing::write_bytes(path, Bytes(text.begin(), text.end()));
}

std::string read_text(const std::string& path) {
  const Bytes bytes = read_bytes(path);
  return {bytes.begin(), bytes.end()};
}

std::vector<std::string> titles(const std::vector<Chart>& charts) {
  std::vector<std::string> out;
  for (const Chart& chart : charts) out.push_back(chart.title);
  return out;
}

std::vector<std::string> legend(const Chart& chart) {
  std::vector<std::string> out;
  for (const Series& series : chart.series) out.push_back(series.name);
  return out;
}

TEST(Progress, RaggedAndGrowing) {
  // As guided-diffusion's logger grows a file: the new key's column is empty in older lines.
  const ProgressLog log = parse_progress(
      "loss,step\r\n0.5,0\n0.25,10,\nnan,20,7\n"
      "step,\"loss\",grad_norm\n30,0.125,inf\n40,,2.5e-3\n\n50,oops,3\n60,0.1");
  EXPECT_THAT(log.keys, ElementsAre("loss", "step", "grad_norm"));
  EXPECT_EQ(log.size(), 6u);
  EXPECT_THAT(log.rows.at("step"), ElementsAre(0, 10, 20, 30, 40, 50));
  EXPECT_THAT(log.rows.at("loss"), ElementsAre(0.5, 0.25, IsNan(), 0.125, IsNan(), IsNan()));
  EXPECT_THAT(
      log.rows.at("grad_norm"),
      ElementsAre(IsNan(), IsNan(), IsNan(), std::numeric_limits<double>::infinity(), 2.5e-3, 3));
  // A last line without its newline counts when it is whole.
  EXPECT_THAT(parse_progress("a,b\n1,2").rows.at("b"), ElementsAre(2));
  EXPECT_EQ(parse_progress("a,b\n1,").rows.at("a").size(), 1u);
  EXPECT_EQ(parse_progress("").size(), 0u);
  EXPECT_EQ(parse_progress("a,b\n").size(), 0u);
  EXPECT_EQ(parse_progress("1,2\n").size(), 0u);
}

TEST(Progress, WhereARunIs) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { read_progress(folder / "none"); }), HasSubstr("no such run"));
  EXPECT_THAT(error_of([&] { read_progress(folder / ""); }), HasSubstr("no progress.csv"));
  write_text(folder / "first/progress.csv", "step,loss\n");
  EXPECT_THAT(error_of([&] { read_progress(folder / "first"); }), HasSubstr("no line of numbers"));
  write_text(folder / "first/progress.csv", "step,loss\n0,1\n");
  EXPECT_EQ(read_progress(folder / "first").name, "first");
  EXPECT_EQ(read_progress(folder / "first/").name, "first");
  EXPECT_EQ(read_progress(folder / "first/progress.csv").name, "first");
  write_text(folder / "other.csv", "step,loss\n0,1\n");
  EXPECT_EQ(read_progress(folder / "other.csv").name, "other");
}

TEST(Ticks, RoundNumbersWithinTheAxis) {
  EXPECT_THAT(ticks(make_axis(0, 100, false), 5), ElementsAre(0, 20, 40, 60, 80, 100));
  EXPECT_THAT(ticks(make_axis(-1, 1, false), 5), ElementsAre(-1, -0.5, 0, 0.5, 1));
  EXPECT_THAT(ticks(make_axis(0.012, 0.019, false), 4),
              Pointwise(DoubleNear(1e-12), {0.012, 0.014, 0.016, 0.018}));
  EXPECT_THAT(ticks(make_axis(1e-4, 1e2, true), 7),
              Pointwise(DoubleNear(1e-9), {1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0}));
  EXPECT_THAT(ticks(make_axis(2, 60, true), 5),
              Pointwise(DoubleNear(1e-9), {2.0, 5.0, 10.0, 20.0, 50.0}));
  for (const double value : {0.0, 3.0, -2e-9, 1e12})  // a single number has room around it
    EXPECT_GE(ticks(make_axis(value, value, false), 5).size(), 2u) << value;
  EXPECT_GE(ticks(make_axis(3, 3, true), 5).size(), 2u);
  EXPECT_EQ(tick_label(0.1 + 0.2), "0.3");
  EXPECT_EQ(tick_label(1500), "1500");
  EXPECT_EQ(tick_label(20000), "20k");
  EXPECT_EQ(tick_label(2.5e6), "2.5M");
  EXPECT_EQ(tick_label(1e-5), "1e-05");
  EXPECT_DOUBLE_EQ((Axis{1, 100, true}.place(10)), 0.5);
  EXPECT_DOUBLE_EQ((Axis{-10, 30, false}.place(0)), 0.25);
}

TEST(Curves, OneChartAQuantity) {
  const ProgressLog diffusion = parse_progress(
      "grad_norm,lg_loss_scale,loss,loss_q0,loss_q3,lr,mse,mse_q1,param_norm,samples,step,vb\n"
      "1,20,0.5,0.4,0.6,1e-4,0.3,0.2,9,64,0,0.1\n2,20,0.4,0.3,0.5,1e-4,0.2,0.1,9,128,1,0.1\n");
  const std::vector<Chart> charts = make_charts({diffusion}, {});
  EXPECT_THAT(titles(charts), ElementsAre("loss", "loss, by quarter of the timesteps", "mse",
                                          "mse, by quarter of the timesteps", "vb", "grad_norm",
                                          "param_norm", "lg_loss_scale", "lr"));
  EXPECT_THAT(legend(charts[0]), ElementsAre(""));
  EXPECT_THAT(legend(charts[1]), ElementsAre("loss_q0", "loss_q3"));
  EXPECT_NE(charts[1].series[0].stroke.colour, charts[1].series[1].stroke.colour);
  EXPECT_THAT(charts[0].series[0].x, ElementsAre(0, 1));
  EXPECT_THAT(charts[0].series[0].y, ElementsAre(0.5, 0.4));
  EXPECT_EQ(charts[0].x_label, "step");
  EXPECT_THAT(make_charts({diffusion}, {.x = "samples"})[0].series[0].x, ElementsAre(64, 128));
  EXPECT_THAT(titles(make_charts({diffusion}, {.keys = {"vb", "loss_q3"}})),
              ElementsAre("loss, by quarter of the timesteps", "vb"));
  EXPECT_THAT(titles(make_charts({diffusion}, {.keys = {"mse"}})),
              ElementsAre("mse", "mse, by quarter of the timesteps"));
  EXPECT_THAT(error_of([&] { make_charts({diffusion}, {.keys = {"los"}}); }),
              AllOf(HasSubstr("no run has los"), HasSubstr("grad_norm, lg_loss_scale")));
}

TEST(Curves, TrainingBesideValidation) {
  const ProgressLog run = parse_progress(
      "step,train_loss,val_loss,train_acc@1,train_loss_q0,val_loss_q0\n0,2,,0.1,1,\n5,1,1.5,0.2,1,"
      "3\n");
  const std::vector<Chart> charts = make_charts({run}, {});
  EXPECT_THAT(titles(charts), ElementsAre("loss", "loss, by quarter of the timesteps", "acc@1"));
  EXPECT_THAT(legend(charts[0]), ElementsAre("train_loss", "val_loss"));
  EXPECT_NE(charts[0].series[0].stroke.colour, charts[0].series[1].stroke.colour);
  EXPECT_THAT(charts[0].series[1].y, ElementsAre(IsNan(), 1.5));
  EXPECT_EQ(charts[1].series[0].stroke.colour, charts[1].series[1].stroke.colour);
  EXPECT_NE(charts[1].series[0].stroke.dash, charts[1].series[1].stroke.dash);
}

TEST(Curves, RunsOverEachOther) {
  ProgressLog a = parse_progress("step,loss\n0,1\n1,0.5\n"),
              b = parse_progress("step,loss,vb\n0,2,3\n");
  a.name = "a";
  b.name = "b";
  const std::vector<Chart> charts = make_charts({a, b}, {});
  EXPECT_THAT(legend(charts[0]), ElementsAre("a", "b"));
  EXPECT_THAT(legend(charts[1]), ElementsAre("b"));
  EXPECT_NE(charts[0].series[0].stroke.colour, charts[0].series[1].stroke.colour);
  EXPECT_EQ(charts[0].series[1].stroke.colour, charts[1].series[0].stroke.colour);  // b's
}

TEST(Curves, AResumedRunReplacesWhatItRepeats) {
  const ProgressLog run = parse_progress("step,loss\n0,9\n10,8\n20,7\n30,6\n20,5\n30,4\n");
  const Series series = make_charts({run}, {})[0].series[0];
  EXPECT_THAT(series.x, ElementsAre(0, 10, 20, 30));
  EXPECT_THAT(series.y, ElementsAre(9, 8, 5, 4));
}

TEST(Curves, Smoothing) {
  EXPECT_THAT(smoothed({4, 4, 4}, 0.9), Pointwise(DoubleNear(1e-12), {4.0, 4.0, 4.0}));
  // (0.5 * 0.5 * 1 + 0.5 * 3) / (0.25 + 0.5)
  EXPECT_THAT(smoothed({1, NAN, 3}, 0.5), ElementsAre(1, IsNan(), DoubleNear(7.0 / 3, 1e-12)));
  const ProgressLog run = parse_progress("step,loss\n0,1\n1,3\n");
  const std::vector<Series> series = make_charts({run}, {.smooth = 0.5})[0].series;
  ASSERT_EQ(series.size(), 2u);
  EXPECT_THAT(series[0].y, ElementsAre(1, 3));
  EXPECT_LT(series[0].stroke.opacity, 0.5);
  EXPECT_NEAR(series[1].y[1], 7.0 / 3, 1e-12);
  const ProgressLog scale = parse_progress("step,lg_loss_scale\n0,20\n1,19\n");
  EXPECT_EQ(make_charts({scale}, {.smooth = 0.5})[0].series.size(), 1u);
}

TEST(Curves, NothingToDraw) {
  EXPECT_TRUE(make_charts({parse_progress("step,loss\n0,nan\n")}, {}).empty());
  EXPECT_TRUE(make_charts({parse_progress("step,loss\n0,-1\n")}, {.log_y = true}).empty());
  EXPECT_EQ(make_charts({parse_progress("step,loss\n0,-1\n")}, {}).size(), 1u);
}

// Keeps what is drawn.
class Recorder final : public Canvas {
 public:
  void line(std::span<const Point> points, const Stroke& stroke) override {
    if (stroke.width == 1.5) lines.emplace_back(points.begin(), points.end());
  }
  void dot(Point at, double, const Stroke&) override { dots.push_back(at); }
  void text(Point, const std::string& text, Anchor, int, Colour) override { texts.push_back(text); }
  double text_width(const std::string& text) const override {
    return 6.0 * static_cast<double>(text.size());
  }
  void write(const std::string&) const override {}
  std::vector<std::vector<Point>> lines;
  std::vector<Point> dots;
  std::vector<std::string> texts;
};

Recorder drawn(const std::vector<double>& y, bool log_y = false) {
  Chart chart = {.title = "t", .x_label = "step", .log_y = log_y, .series = {}};
  Series series = {.name = "", .x = {}, .y = y, .stroke = {.width = 1.5}};
  for (std::size_t i = 0; i < y.size(); ++i) series.x.push_back(static_cast<double>(i));
  chart.series.push_back(series);
  Recorder recorder;
  draw_chart(recorder, chart, {0, 0});
  return recorder;
}

TEST(Chart, GapsBreakALineAndLonePointsAreDots) {
  const Recorder gaps = drawn({1, 2, NAN, 3, INFINITY, 2, 1, 0});
  ASSERT_EQ(gaps.lines.size(), 2u);
  EXPECT_EQ(gaps.lines[0].size(), 2u);
  EXPECT_EQ(gaps.lines[1].size(), 3u);
  EXPECT_EQ(gaps.dots.size(), 1u);
  EXPECT_EQ(drawn({5}).dots.size(), 1u);
  EXPECT_EQ(drawn({1, 0, 10, 100}, true).dots.size(), 1u);  // no logarithm of 0
}

TEST(Chart, HigherIsUpAndLaterIsRight) {
  const std::vector<Point> line = drawn({1, 10, 100}, true).lines.at(0);
  EXPECT_LT(line[0].x, line[1].x);
  EXPECT_GT(line[0].y, line[1].y);
  EXPECT_NEAR(line[0].y - line[1].y, line[1].y - line[2].y, 1e-9);  // equal factors
  const std::vector<Point> plain = drawn({1, 10, 100}).lines.at(0);
  EXPECT_NEAR((plain[1].y - plain[2].y) / (plain[0].y - plain[1].y), 10, 1e-9);
  for (const Point& p : line) {
    EXPECT_TRUE(p.x > 0 && p.x < kChartWidth) << p.x;
    EXPECT_TRUE(p.y > 0 && p.y < kChartHeight) << p.y;
  }
  EXPECT_THAT(drawn({1, 10, 100}, true).texts, ::testing::IsSupersetOf({"10", "100", "t", "step"}));
}

TEST(Chart, ManyPointsKeepTheirPeaks) {
  std::vector<double> y(100000, 1.0);
  y[34567] = 9;
  y[76543] = -5;
  const std::vector<Point> line = drawn(y).lines.at(0);
  EXPECT_LT(line.size(), 2000u);
  const auto [low, high] =
      std::minmax_element(line.begin(), line.end(), [](Point a, Point b) { return a.y < b.y; });
  EXPECT_LT(low->y, line[0].y - 50);
  EXPECT_GT(high->y, line[0].y + 50);
}

TEST(Canvas, SvgIsWellFormed) {
  const TemporaryFolder folder;
  const auto canvas = svg_canvas(200, 100);
  const Point points[] = {{1, 2}, {30.5, 4}};
  canvas->line(points, {.colour = {255, 0, 16}, .width = 1.5, .dash = 1, .opacity = 0.25});
  canvas->text({5, 6}, "a<b & \"c\">\x1b", Anchor::end, 12, {0, 0, 0});
  canvas->dot({7, 8}, 2, {});
  canvas->write(folder / "a.svg");
  const std::string svg = read_text(folder / "a.svg");
  EXPECT_THAT(
      svg,
      AllOf(HasSubstr("width=\"200\" height=\"100\""), HasSubstr("points=\"1.00,2.00 30.50,4.00\""),
            HasSubstr("#ff0010"), HasSubstr("stroke-dasharray=\"6 3\" opacity=\"0.25\""),
            HasSubstr(">a&lt;b &amp; \"c\"&gt;?</text>"), HasSubstr("<circle cx=\"7.00\"")));
  EXPECT_EQ(svg.substr(svg.size() - 7), "</svg>\n");
}

// Dark pixels of a picture in a part of it.
int dark(const Tensor& picture, std::int64_t x0, std::int64_t y0, std::int64_t x1,
         std::int64_t y1) {
  int count = 0;
  for (std::int64_t y = y0; y < y1; ++y)
    for (std::int64_t x = x0; x < x1; ++x)
      count += picture.data<std::uint8_t>()[(y * picture.dim(1) + x) * 3] < 128;
  return count;
}

TEST(Canvas, PixelsLieWhereTheLineIs) {
  const TemporaryFolder folder;
  const auto draw = [&](int dash, double opacity) {
    const auto canvas = pixel_canvas(100, 50);
    const Point points[] = {{10, 20}, {60, 20}, {60, 40}};
    canvas->line(points, {.width = 2, .dash = dash, .opacity = opacity});
    canvas->write(folder / "a.png");
    return read_image(folder / "a.png");
  };
  const Tensor full = draw(0, 1);
  ASSERT_EQ(full.shape(), Shape({100, 200, 3}));
  EXPECT_NEAR(dark(full, 20, 36, 120, 44), 400, 12);   // 50 by 2, four pixels each
  EXPECT_NEAR(dark(full, 116, 44, 124, 80), 144, 12);  // 18 by 2 below the corner
  EXPECT_NEAR(dark(full, 0, 0, 200, 100), 560, 20);
  const int dashed = dark(draw(1, 1), 0, 0, 200, 100);  // two thirds, and the dashes' round ends
  EXPECT_GT(dashed, 370);
  EXPECT_LT(dashed, 540);
  EXPECT_EQ(dark(draw(0, 0.25), 0, 0, 200, 100), 0);
  const auto canvas = pixel_canvas(40, 20);
  canvas->dot({50, 50}, 3, {});  // outside
  canvas->dot({10, 10}, 3, {});
  canvas->text({20, 15}, "H", Anchor::start, 12, {0, 0, 0});
  canvas->write(folder / "b.png");
  const Tensor b = read_image(folder / "b.png");
  EXPECT_NEAR(dark(b, 0, 0, 36, 40), 3.14159 * 36, 12);
  EXPECT_GT(dark(b, 40, 10, 60, 32), 20);
  EXPECT_EQ(dark(b, 40, 32, 80, 40), 0);  // below the line that letters stand on
}

TEST(Plot, TheCommand) {
  const TemporaryFolder folder;
  write_text(folder / "a/progress.csv", "step,loss,loss_q0\n0,1,2\n10,0.5,1\n");
  write_text(folder / "b/progress.csv", "loss,step\n1,0\n0.25,10\n");
  const auto svg = tiller_expect(0, {"plot", folder / "a", folder / "b", "--smooth", "0.5",
                                     "--log_y", "--out", folder / "c.svg"});
  EXPECT_EQ(svg.out, "");
  EXPECT_THAT(svg.err, HasSubstr("2 charts in "));
  const std::string text = read_text(folder / "c.svg");
  EXPECT_THAT(text,
              AllOf(HasSubstr(">a</text>"), HasSubstr(">b</text>"), HasSubstr(">loss</text>")));
  tiller_expect(0, {"plot", folder / "a", "--keys", "loss", "--out", folder / "c.png"});
  EXPECT_EQ(read_image(folder / "c.png").shape(), Shape({2 * kChartHeight, 4 * kChartWidth, 3}));
  tiller_expect(0, {"plot", folder / "b", "--out", folder / "d.png"});
  EXPECT_EQ(read_image(folder / "d.png").shape(), Shape({2 * kChartHeight, 2 * kChartWidth, 3}));
  EXPECT_THAT(tiller_expect(2, {"plot", folder / "a", "--out", "a.pdf"}).err,
              HasSubstr(".svg or .png"));
  EXPECT_THAT(tiller_expect(2, {"plot"}).err, HasSubstr("RUN is missing"));
  EXPECT_THAT(tiller_expect(2, {"plot", folder / "a", "--keys", "lss"}).err,
              HasSubstr("step, loss"));
  EXPECT_THAT(tiller_expect(1, {"plot", folder / "c"}).err, HasSubstr("no such run"));
  EXPECT_THAT(tiller_expect(0, {"plot", "--help"}).out, HasSubstr("tiller plot RUN ... [flags]"));
}

}  // namespace
}  // namespace tiller
