#include "diffusion/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "diffusion/coefficients.h"
#include "runtime/files/npz.h"

namespace tiller {
namespace {

const std::string kData = TILLER_TEST_DATA;

void expect_close(const std::vector<double>& ours, const Tensor& reference,
                  const std::string& what) {
  const std::vector<double> theirs = reference.to_vector<double>();
  ASSERT_EQ(ours.size(), theirs.size()) << what;
  for (std::size_t i = 0; i < ours.size(); ++i)
    ASSERT_NEAR(ours[i], theirs[i], 1e-12 * (1 + std::abs(theirs[i]))) << what << "[" << i << "]";
}

TEST(Schedule, EveryTableEqualsGuidedDiffusions) {
  const NpzReader reference = NpzReader::open(kData + "/schedules.npz");
  int compared = 0;
  for (const auto& [name, steps] :
       {std::pair{"linear", 1000}, {"cosine", 1000}, {"linear", 4000}, {"cosine", 50}}) {
    const std::string prefix = std::string(name) + "." + std::to_string(steps) + ".";
    const std::vector<double> betas = named_beta_schedule(name, steps);
    const Coefficients c(betas);
    const std::pair<const char*, const std::vector<double>*> tables[] = {
        {"betas", &c.betas},
        {"alphas_cumprod", &c.alphas_cumprod},
        {"alphas_cumprod_prev", &c.alphas_cumprod_prev},
        {"alphas_cumprod_next", &c.alphas_cumprod_next},
        {"sqrt_alphas_cumprod", &c.sqrt_alphas_cumprod},
        {"sqrt_one_minus_alphas_cumprod", &c.sqrt_one_minus_alphas_cumprod},
        {"log_one_minus_alphas_cumprod", &c.log_one_minus_alphas_cumprod},
        {"sqrt_recip_alphas_cumprod", &c.sqrt_recip_alphas_cumprod},
        {"sqrt_recipm1_alphas_cumprod", &c.sqrt_recipm1_alphas_cumprod},
        {"posterior_variance", &c.posterior_variance},
        {"posterior_log_variance_clipped", &c.posterior_log_variance_clipped},
        {"posterior_mean_coef1", &c.posterior_mean_coef1},
        {"posterior_mean_coef2", &c.posterior_mean_coef2}};
    for (const auto& [table, values] : tables) {
      expect_close(*values, reference.read(prefix + table), prefix + table);
      ++compared;
    }
    for (const ArrayInfo& array : reference.arrays()) {
      if (!array.name.starts_with(prefix + "spaced.")) continue;
      const std::size_t begin = prefix.size() + 7;
      const std::string respacing = array.name.substr(begin, array.name.size() - begin - 6);
      expect_close(respaced_betas(betas, space_timesteps(steps, respacing)),
                   reference.read(array.name), array.name);
      ++compared;
    }
  }
  EXPECT_EQ(compared, static_cast<int>(reference.arrays().size()));
}

TEST(Spacing, EveryMapEqualsGuidedDiffusions) {
  std::ifstream file(kData + "/spacings.json");
  const nlohmann::json cases = nlohmann::json::parse(file);
  for (const auto& [name, expected] : cases.items()) {
    const std::size_t first = name.find('.'), second = name.find('.', first + 1);
    const std::int64_t steps = std::stoll(name.substr(first + 1, second - first - 1));
    const std::string respacing = name.substr(second + 1);
    if (expected.is_object()) {
      try {
        space_timesteps(steps, respacing);
        FAIL() << name;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::usage);
        EXPECT_NE(std::string(error.what()).find(expected["error"].get<std::string>()),
                  std::string::npos)
            << error.what();
      }
      continue;
    }
    EXPECT_EQ(space_timesteps(steps, respacing), expected.get<std::vector<std::int64_t>>()) << name;
  }
}

TEST(Spacing, OddOnesToo) {
  EXPECT_EQ(space_timesteps(1000, "1,1"), (std::vector<std::int64_t>{0, 500}));
  EXPECT_EQ(space_timesteps(1000, "0,5"), (std::vector<std::int64_t>{500, 625, 750, 874, 999}));
  EXPECT_EQ(space_timesteps(1000, "ddim500").size(), 500u);
  EXPECT_EQ(space_timesteps(1000, "").size(), 1000u);
  EXPECT_EQ(space_timesteps(1000, "1"), (std::vector<std::int64_t>{0}));  // crashes upstream
}

TEST(Spacing, ErrorsSayWhatWorks) {
  const auto message = [](const std::string& respacing) -> std::string {
    try {
      space_timesteps(1000, respacing);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(
      message("ddim300"),
      "--timestep_respacing ddim300: no whole stride takes 300 of 1000 steps; the nearest that "
      "works is ddim334");
  EXPECT_EQ(message("1001"),
            "--timestep_respacing 1001: cannot divide section of 1000 steps into 1001");
  EXPECT_EQ(message("0"), "--timestep_respacing 0: takes no step");
  EXPECT_NE(message("fast").find("not a number of steps"), std::string::npos);
  EXPECT_NE(message("10,,10").find("not a number of steps"), std::string::npos);
}

TEST(Schedule, ShortLinearSchedulesAreRefusedInWords) {
  EXPECT_NO_THROW(named_beta_schedule("linear", 20));
  try {
    named_beta_schedule("linear", 19);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("at least 20 steps"), std::string::npos)
        << error.what();
  }
  EXPECT_THROW(named_beta_schedule("sqrt", 100), Error);
  EXPECT_THROW(named_beta_schedule("cosine", 0), Error);
}

TEST(Coefficients, OneStepIsAProcessToo) {
  const Coefficients c({0.5});
  EXPECT_EQ(c.posterior_variance[0], 0);
  EXPECT_DOUBLE_EQ(c.posterior_log_variance_clipped[0], std::log(0.5));
  EXPECT_THROW(Coefficients({}), Error);
  EXPECT_THROW(Coefficients({0.5, 1.5}), Error);
}

}  // namespace
}  // namespace tiller
