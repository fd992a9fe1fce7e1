// The reference rows against other definitions of the same thing, and cost() against counting.
#include "kernels/conv2d/reference.h"
#include "tests/kernels/conv2d_util.h"
#include "tests/kernels/counted.h"

namespace tiller::test {
namespace {

class Conv2dReference : public testing::TestWithParam<ConvCase> {};

double dot(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = doubles(a), y = doubles(b);
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

// The input as the taps see it: sources concatenated, up-sampled, framed with zeros: [N,H',W',C].
struct Padded {
  std::int64_t h, w, c;
  std::vector<double> v;
  double at(std::int64_t n, std::int64_t y, std::int64_t x, std::int64_t ch) const {
    return v[static_cast<std::size_t>(((n * h + y) * w + x) * c + ch)];
  }
};

Padded padded(const ConvCase& c, const Tensor& x0, const Tensor& x1) {
  const std::int64_t scale = c.geometry.up2x ? 2 : 1, pad = c.geometry.pad;
  Padded out{scale * c.h + 2 * pad, scale * c.w + 2 * pad, c.c0 + c.c1, {}};
  out.v.assign(static_cast<std::size_t>(c.n * out.h * out.w * out.c), 0.0);
  const std::vector<double> a = doubles(x0), b = x1 ? doubles(x1) : std::vector<double>();
  for (std::int64_t n = 0; n < c.n; ++n)
    for (std::int64_t y = 0; y < scale * c.h; ++y)
      for (std::int64_t x = 0; x < scale * c.w; ++x) {
        const std::int64_t pixel = (n * c.h + y / scale) * c.w + x / scale;
        double* to =
            &out.v[static_cast<std::size_t>(((n * out.h + y + pad) * out.w + x + pad) * out.c)];
        for (std::int64_t i = 0; i < c.c0; ++i)
          to[i] = a[static_cast<std::size_t>(pixel * c.c0 + i)];
        for (std::int64_t i = 0; i < c.c1; ++i)
          to[c.c0 + i] = b[static_cast<std::size_t>(pixel * c.c1 + i)];
      }
  return out;
}

TEST_P(Conv2dReference, ForwardIsTheDefinition) {
  const ConvCase& c = GetParam();
  const Conv2dFwdArgs args = ConvMaker{c, DType::f64}.fwd();
  check(args);
  conv2d_fwd_reference<double>(args);
  const Padded x = padded(c, args.x0, args.x1);
  const std::vector<double> w = doubles(args.w), y = doubles(args.y);
  const std::vector<double> bias = args.bias ? doubles(args.bias) : std::vector<double>();
  const std::vector<double> residual =
      args.residual ? doubles(args.residual) : std::vector<double>();
  const std::int64_t p_size = args.y.dim(1), q_size = args.y.dim(2);
  for (std::int64_t n = 0; n < c.n; ++n)
    for (std::int64_t k = 0; k < c.k; ++k) {
      double mean = 0, m2 = 0;
      for (std::int64_t p = 0; p < p_size; ++p)
        for (std::int64_t q = 0; q < q_size; ++q) {
          double want = args.bias ? bias[static_cast<std::size_t>(k)] : 0;
          for (std::int64_t r = 0; r < c.taps; ++r)
            for (std::int64_t s = 0; s < c.taps; ++s)
              for (std::int64_t i = 0; i < x.c; ++i)
                want += x.at(n, p * c.geometry.stride + r, q * c.geometry.stride + s, i) *
                        w[static_cast<std::size_t>(((k * c.taps + r) * c.taps + s) * x.c + i)];
          const std::int64_t pixel = (n * p_size + p) * q_size + q;
          if (args.skip0) {
            const double* skip_w =
                static_cast<const double*>(args.skip_w.raw()) + k * (c.skip0 + c.skip1);
            for (std::int64_t i = 0; i < c.skip0 + c.skip1; ++i)
              want +=
                  skip_w[i] * (i < c.skip0 ? row_of<const double>(args.skip0, pixel)[i]
                                           : row_of<const double>(args.skip1, pixel)[i - c.skip0]);
            want += args.skip_bias.data<double>()[k];
          }
          if (args.residual && !args.residual_up2x)
            want += residual[static_cast<std::size_t>(pixel * c.k + k)];
          if (args.residual_up2x) {
            const std::int64_t low = (n * (p_size / 2) + p / 2) * (q_size / 2) + q / 2;
            want += residual[static_cast<std::size_t>(low * c.k + k)];
          }
          const double got = y[static_cast<std::size_t>(pixel * c.k + k)];
          ASSERT_NEAR(got, want, 1e-12 * (1 + std::abs(want)));
          mean += got;
        }
      if (!args.stats) continue;
      mean /= static_cast<double>(p_size * q_size);
      for (std::int64_t i = 0; i < p_size * q_size; ++i) {
        const double d = y[static_cast<std::size_t>((n * p_size * q_size + i) * c.k + k)] - mean;
        m2 += d * d;
      }
      ASSERT_NEAR(row_of<const double>(args.stats, n * c.k + k)[0], mean, 1e-12);
      ASSERT_NEAR(row_of<const double>(args.stats, n * c.k + k)[1], m2, 1e-12 * m2 + 1e-12);
    }
}

// y = A x for a matrix A that w fills, so <dy, A x> = <A^T dy, x> = <dw, w>.
TEST_P(Conv2dReference, GradientsAreAdjoint) {
  ConvCase c = GetParam();
  c.bias = false;
  c.residual = 0;
  c.skip0 = c.skip1 = 0;
  const ConvMaker make{c, DType::f64};
  const Conv2dFwdArgs fwd = make.fwd();
  const Conv2dDgradArgs dgrad = make.dgrad();
  c.bias = true;
  const Conv2dWgradArgs wgrad = make.wgrad();
  check(dgrad);
  check(wgrad);
  conv2d_fwd_reference<double>(fwd);
  conv2d_dgrad_reference<double>(dgrad);
  conv2d_wgrad_reference<double>(wgrad);
  const double want = dot(fwd.y, dgrad.dy),
               size = std::sqrt(dot(fwd.y, fwd.y) * dot(dgrad.dy, dgrad.dy));
  const double by_x = dot(dgrad.dx0, fwd.x0) + (c.c1 ? dot(dgrad.dx1, fwd.x1) : 0.0);
  EXPECT_NEAR(by_x, want, 1e-12 * size);
  EXPECT_NEAR(dot(wgrad.dw, fwd.w), want, 1e-12 * size);
  const std::vector<double> dy = doubles(wgrad.dy), dbias = doubles(wgrad.dbias);
  for (std::size_t k = 0; k < dbias.size(); ++k) {
    double sum = 0;
    for (std::size_t i = k; i < dy.size(); i += dbias.size()) sum += dy[i];
    EXPECT_NEAR(dbias[k], sum, 1e-12 * size);
  }
}

template <class Args, class F>
void expect_cost(const Args& args, const std::vector<Tensor>& tensors, const F& f) {
  Counter counter;
  for (const Tensor& t : tensors) counter.watch(t);
  {
    CountGuard guard(counter);
    f(args);
  }
  const Cost want = cost(args);
  EXPECT_EQ(counter.flops(), want.flops);
  EXPECT_EQ(8.0 * static_cast<double>(counter.elements_read()), want.bytes_read);
  EXPECT_EQ(8.0 * static_cast<double>(counter.elements_written()), want.bytes_written);
}

TEST_P(Conv2dReference, CostIsWhatIsCounted) {
  const ConvCase& c = GetParam();
  const ConvMaker make{c, DType::f64};
  const Conv2dFwdArgs fwd = make.fwd();
  expect_cost(fwd,
              {fwd.x0, fwd.x1, fwd.w, fwd.bias, fwd.residual, fwd.skip0, fwd.skip1, fwd.skip_w,
               fwd.skip_bias, fwd.y, fwd.stats},
              conv2d_fwd_reference<Counted>);
  const Conv2dDgradArgs dgrad = make.dgrad();
  expect_cost(dgrad, {dgrad.dy, dgrad.w, dgrad.dx0, dgrad.dx1}, conv2d_dgrad_reference<Counted>);
  const Conv2dWgradArgs wgrad = make.wgrad();
  expect_cost(wgrad, {wgrad.x0, wgrad.x1, wgrad.dy, wgrad.dw, wgrad.dbias},
              conv2d_wgrad_reference<Counted>);
}

INSTANTIATE_TEST_SUITE_P(Cases, Conv2dReference, testing::ValuesIn(conv_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Conv2dCheck, NamesWhatIsWrong) {
  const ConvCase c{"check", 2, 6, 6, 8, 4, 16, 3, {1, 1, false}, true, 1, 8, 0, true};
  const ConvMaker make{c, DType::f32};
  const auto fwd_throws = [&](const char* part, const auto& change) {
    Conv2dFwdArgs args = make.fwd();
    check(args);
    change(args);
    try {
      check(args);
      ADD_FAILURE() << "no error that says " << part;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  fwd_throws("x0", [](auto& a) { a.x0 = {}; });
  fwd_throws("x1", [](auto& a) { a.x1 = Tensor::empty({2, 6, 5, 4}); });
  fwd_throws("w f32", [](auto& a) { a.w = Tensor::empty({16, 3, 3, 11}); });
  fwd_throws("neither", [](auto& a) { a.w = Tensor::empty({16, 3, 3, 12}, DType::f16); });
  fwd_throws("bias", [](auto& a) { a.bias = Tensor::empty({15}); });
  fwd_throws("residual", [](auto& a) { a.residual_up2x = true; });
  fwd_throws("skip", [](auto& a) { a.skip_w = {}; });
  fwd_throws("skip_w", [](auto& a) { a.skip_w = Tensor::empty({16, 3, 3, 8}); });
  fwd_throws("stats", [](auto& a) { a.stats = Tensor::empty({2, 16}); });
  fwd_throws("y is", [](auto& a) { a.y = Tensor::empty({2, 6, 6, 8}); });
  fwd_throws("pad=0", [](auto& a) {
    a.geometry.pad = 0;
    a.x0 = Tensor::empty({2, 2, 2, 8});
    a.x1 = Tensor::empty({2, 2, 2, 4});
  });
  Conv2dDgradArgs dgrad = make.dgrad();
  check(dgrad);
  dgrad.dx1 = {};
  EXPECT_THROW(check(dgrad), Error);
  Conv2dWgradArgs wgrad = make.wgrad();
  check(wgrad);
  wgrad.dbias = Tensor::empty({16}, DType::f16);
  EXPECT_THROW(check(wgrad), Error);
}

}  // namespace
}  // namespace tiller::test
