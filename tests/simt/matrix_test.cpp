// The lane layouts of the tensor-core instructions, against tables typed from the PTX ISA manual
// (9.7.15, "Warp-level matrix instructions"): which thread holds which element, row by row as its
// figures show.
#include <cmath>
#include <random>
#include <sstream>

#include "kernels/simt/matrix.h"
#include "tests/simt/kernel_util.h"

namespace tiller {
inline namespace TILLER_DEVICE {
namespace {

using executor::Element;
using executor::MatrixType;

// One cell "T5:a3" for each element. `table` lists rows top to bottom.
void expect_layout(const std::string& table, int rows, int columns, int per_lane,
                   const std::function<Element(unsigned, int)>& layout) {
  std::vector<std::string> cells(static_cast<std::size_t>(rows * columns), "nobody");
  for (unsigned lane = 0; lane < 32; ++lane)
    for (int i = 0; i < per_lane; ++i) {
      const Element at = layout(lane, i);
      ASSERT_TRUE(at.row >= 0 && at.row < rows && at.column >= 0 && at.column < columns);
      cells[static_cast<std::size_t>(at.row * columns + at.column)] =
          "T" + std::to_string(lane) + ":" + std::to_string(i);
    }
  std::istringstream words(table);
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c) {
      std::string want;
      words >> want;
      EXPECT_EQ(cells[static_cast<std::size_t>(r * columns + c)], want) << r << "," << c;
    }
  std::string rest;
  EXPECT_FALSE(words >> rest);
}

// Figure "MMA .m16n8k16 fragment layout for matrix A with .f16 / .bf16 type".
constexpr const char* kA16 = R"(
T0:0 T0:1 T1:0 T1:1 T2:0 T2:1 T3:0 T3:1 T0:4 T0:5 T1:4 T1:5 T2:4 T2:5 T3:4 T3:5
T4:0 T4:1 T5:0 T5:1 T6:0 T6:1 T7:0 T7:1 T4:4 T4:5 T5:4 T5:5 T6:4 T6:5 T7:4 T7:5
T8:0 T8:1 T9:0 T9:1 T10:0 T10:1 T11:0 T11:1 T8:4 T8:5 T9:4 T9:5 T10:4 T10:5 T11:4 T11:5
T12:0 T12:1 T13:0 T13:1 T14:0 T14:1 T15:0 T15:1 T12:4 T12:5 T13:4 T13:5 T14:4 T14:5 T15:4 T15:5
T16:0 T16:1 T17:0 T17:1 T18:0 T18:1 T19:0 T19:1 T16:4 T16:5 T17:4 T17:5 T18:4 T18:5 T19:4 T19:5
T20:0 T20:1 T21:0 T21:1 T22:0 T22:1 T23:0 T23:1 T20:4 T20:5 T21:4 T21:5 T22:4 T22:5 T23:4 T23:5
T24:0 T24:1 T25:0 T25:1 T26:0 T26:1 T27:0 T27:1 T24:4 T24:5 T25:4 T25:5 T26:4 T26:5 T27:4 T27:5
T28:0 T28:1 T29:0 T29:1 T30:0 T30:1 T31:0 T31:1 T28:4 T28:5 T29:4 T29:5 T30:4 T30:5 T31:4 T31:5
T0:2 T0:3 T1:2 T1:3 T2:2 T2:3 T3:2 T3:3 T0:6 T0:7 T1:6 T1:7 T2:6 T2:7 T3:6 T3:7
T4:2 T4:3 T5:2 T5:3 T6:2 T6:3 T7:2 T7:3 T4:6 T4:7 T5:6 T5:7 T6:6 T6:7 T7:6 T7:7
T8:2 T8:3 T9:2 T9:3 T10:2 T10:3 T11:2 T11:3 T8:6 T8:7 T9:6 T9:7 T10:6 T10:7 T11:6 T11:7
T12:2 T12:3 T13:2 T13:3 T14:2 T14:3 T15:2 T15:3 T12:6 T12:7 T13:6 T13:7 T14:6 T14:7 T15:6 T15:7
T16:2 T16:3 T17:2 T17:3 T18:2 T18:3 T19:2 T19:3 T16:6 T16:7 T17:6 T17:7 T18:6 T18:7 T19:6 T19:7
T20:2 T20:3 T21:2 T21:3 T22:2 T22:3 T23:2 T23:3 T20:6 T20:7 T21:6 T21:7 T22:6 T22:7 T23:6 T23:7
T24:2 T24:3 T25:2 T25:3 T26:2 T26:3 T27:2 T27:3 T24:6 T24:7 T25:6 T25:7 T26:6 T26:7 T27:6 T27:7
T28:2 T28:3 T29:2 T29:3 T30:2 T30:3 T31:2 T31:3 T28:6 T28:7 T29:6 T29:7 T30:6 T30:7 T31:6 T31:7)";

// Figure "MMA .m16n8k16 fragment layout for matrix B with .f16 / .bf16 type".
constexpr const char* kB16 = R"(
T0:0 T4:0 T8:0 T12:0 T16:0 T20:0 T24:0 T28:0
T0:1 T4:1 T8:1 T12:1 T16:1 T20:1 T24:1 T28:1
T1:0 T5:0 T9:0 T13:0 T17:0 T21:0 T25:0 T29:0
T1:1 T5:1 T9:1 T13:1 T17:1 T21:1 T25:1 T29:1
T2:0 T6:0 T10:0 T14:0 T18:0 T22:0 T26:0 T30:0
T2:1 T6:1 T10:1 T14:1 T18:1 T22:1 T26:1 T30:1
T3:0 T7:0 T11:0 T15:0 T19:0 T23:0 T27:0 T31:0
T3:1 T7:1 T11:1 T15:1 T19:1 T23:1 T27:1 T31:1
T0:2 T4:2 T8:2 T12:2 T16:2 T20:2 T24:2 T28:2
T0:3 T4:3 T8:3 T12:3 T16:3 T20:3 T24:3 T28:3
T1:2 T5:2 T9:2 T13:2 T17:2 T21:2 T25:2 T29:2
T1:3 T5:3 T9:3 T13:3 T17:3 T21:3 T25:3 T29:3
T2:2 T6:2 T10:2 T14:2 T18:2 T22:2 T26:2 T30:2
T2:3 T6:3 T10:3 T14:3 T18:3 T22:3 T26:3 T30:3
T3:2 T7:2 T11:2 T15:2 T19:2 T23:2 T27:2 T31:2
T3:3 T7:3 T11:3 T15:3 T19:3 T23:3 T27:3 T31:3)";

// Figure "MMA .m16n8k8 fragment layout for matrix A with .tf32 type".
constexpr const char* kATf32 = R"(
T0:0 T1:0 T2:0 T3:0 T0:2 T1:2 T2:2 T3:2
T4:0 T5:0 T6:0 T7:0 T4:2 T5:2 T6:2 T7:2
T8:0 T9:0 T10:0 T11:0 T8:2 T9:2 T10:2 T11:2
T12:0 T13:0 T14:0 T15:0 T12:2 T13:2 T14:2 T15:2
T16:0 T17:0 T18:0 T19:0 T16:2 T17:2 T18:2 T19:2
T20:0 T21:0 T22:0 T23:0 T20:2 T21:2 T22:2 T23:2
T24:0 T25:0 T26:0 T27:0 T24:2 T25:2 T26:2 T27:2
T28:0 T29:0 T30:0 T31:0 T28:2 T29:2 T30:2 T31:2
T0:1 T1:1 T2:1 T3:1 T0:3 T1:3 T2:3 T3:3
T4:1 T5:1 T6:1 T7:1 T4:3 T5:3 T6:3 T7:3
T8:1 T9:1 T10:1 T11:1 T8:3 T9:3 T10:3 T11:3
T12:1 T13:1 T14:1 T15:1 T12:3 T13:3 T14:3 T15:3
T16:1 T17:1 T18:1 T19:1 T16:3 T17:3 T18:3 T19:3
T20:1 T21:1 T22:1 T23:1 T20:3 T21:3 T22:3 T23:3
T24:1 T25:1 T26:1 T27:1 T24:3 T25:3 T26:3 T27:3
T28:1 T29:1 T30:1 T31:1 T28:3 T29:3 T30:3 T31:3)";

// Figure "MMA .m16n8k8 fragment layout for matrix B with .tf32 type".
constexpr const char* kBTf32 = R"(
T0:0 T4:0 T8:0 T12:0 T16:0 T20:0 T24:0 T28:0
T1:0 T5:0 T9:0 T13:0 T17:0 T21:0 T25:0 T29:0
T2:0 T6:0 T10:0 T14:0 T18:0 T22:0 T26:0 T30:0
T3:0 T7:0 T11:0 T15:0 T19:0 T23:0 T27:0 T31:0
T0:1 T4:1 T8:1 T12:1 T16:1 T20:1 T24:1 T28:1
T1:1 T5:1 T9:1 T13:1 T17:1 T21:1 T25:1 T29:1
T2:1 T6:1 T10:1 T14:1 T18:1 T22:1 T26:1 T30:1
T3:1 T7:1 T11:1 T15:1 T19:1 T23:1 T27:1 T31:1)";

// Figure "MMA .m16n8k16 fragment layout for accumulator matrix C/D" (and m16n8k8's).
constexpr const char* kC = R"(
T0:0 T0:1 T1:0 T1:1 T2:0 T2:1 T3:0 T3:1
T4:0 T4:1 T5:0 T5:1 T6:0 T6:1 T7:0 T7:1
T8:0 T8:1 T9:0 T9:1 T10:0 T10:1 T11:0 T11:1
T12:0 T12:1 T13:0 T13:1 T14:0 T14:1 T15:0 T15:1
T16:0 T16:1 T17:0 T17:1 T18:0 T18:1 T19:0 T19:1
T20:0 T20:1 T21:0 T21:1 T22:0 T22:1 T23:0 T23:1
T24:0 T24:1 T25:0 T25:1 T26:0 T26:1 T27:0 T27:1
T28:0 T28:1 T29:0 T29:1 T30:0 T30:1 T31:0 T31:1
T0:2 T0:3 T1:2 T1:3 T2:2 T2:3 T3:2 T3:3
T4:2 T4:3 T5:2 T5:3 T6:2 T6:3 T7:2 T7:3
T8:2 T8:3 T9:2 T9:3 T10:2 T10:3 T11:2 T11:3
T12:2 T12:3 T13:2 T13:3 T14:2 T14:3 T15:2 T15:3
T16:2 T16:3 T17:2 T17:3 T18:2 T18:3 T19:2 T19:3
T20:2 T20:3 T21:2 T21:3 T22:2 T22:3 T23:2 T23:3
T24:2 T24:3 T25:2 T25:3 T26:2 T26:3 T27:2 T27:3
T28:2 T28:3 T29:2 T29:3 T30:2 T30:3 T31:2 T31:3)";

TEST(Matrix, FragmentLayoutsAreThoseOfTheManual) {
  for (const MatrixType half : {MatrixType::f16, MatrixType::bf16}) {
    expect_layout(kA16, 16, 16, 8, [=](unsigned l, int i) { return fragment_a(half, l, i); });
    expect_layout(kB16, 16, 8, 4, [=](unsigned l, int i) { return fragment_b(half, l, i); });
  }
  const MatrixType tf32 = MatrixType::tf32;
  expect_layout(kATf32, 16, 8, 4, [=](unsigned l, int i) { return fragment_a(tf32, l, i); });
  expect_layout(kBTf32, 8, 8, 2, [=](unsigned l, int i) { return fragment_b(tf32, l, i); });
  expect_layout(kC, 16, 8, 4, [](unsigned l, int i) { return executor::fragment_c(l, i); });
}

template <class T>
struct Operands {
  const T *a, *b;  // [16,K] and [8,K]: B is column-major
  float* d;        // [16,8]
};

template <class T>
struct Tile {
  Array<T, 16 * 16> a;
  Array<T, 16 * 16> b;  // two columns blocks of 8, for one ldmatrix.x4
};

std::uint32_t bits_of(const float& x) { return std::bit_cast<std::uint32_t>(x); }

// d += a b through ldmatrix, as a GEMM's inner step does it.
template <class T>
__global__ void product(const Operands<T> __grid_constant__ p) {
  auto& s = shared<Tile<T>>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) {
    s.a[i] = p.a[i];
    s.b[i] = p.b[i % 128];
  }
  __syncwarp();
  std::uint32_t a[4], b4[4];
  ldmatrix_x4(a, s.a, lane % 16 * 16 + lane / 16 * 8);
  ldmatrix_x4(b4, s.b, (lane % 8 + lane / 16 * 8) * 16 + lane / 8 % 2 * 8);
  const std::uint32_t b[2] = {b4[0], b4[1]};
  float d[4];
  for (int i = 0; i < 4; ++i) d[i] = p.d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2];
  mma(T{}, d, a, b);
  for (int i = 0; i < 4; ++i) p.d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}

template <class T>
void expect_product() {
  std::mt19937 generator(3);
  std::normal_distribution<float> normal;
  std::vector<T> a(256), b(128);
  for (T& x : a) x = T(normal(generator));
  for (T& x : b) x = T(normal(generator));
  std::vector<float> d(128), want(128);
  for (float& x : d) x = normal(generator);
  for (std::size_t i = 0; i < 16; ++i)
    for (std::size_t j = 0; j < 8; ++j) {
      double sum = d[i * 8 + j];
      for (std::size_t k = 0; k < 16; ++k)
        sum += static_cast<double>(a[i * 16 + k]) * static_cast<double>(b[j * 16 + k]);
      want[i * 8 + j] = static_cast<float>(sum);
    }
  launch({"product", 1, 32, shared_bytes<Tile<T>>()}, kStream, product<T>,
         {a.data(), b.data(), d.data()});
  for (std::size_t i = 0; i < 128; ++i) EXPECT_NEAR(d[i], want[i], 1e-5);
}

TEST(Matrix, ProductOfHalves) {
  expect_product<f16>();
  expect_product<bf16>();
}

__global__ void product_tf32(const Operands<float> __grid_constant__ p) {
  const int lane = static_cast<int>(threadIdx.x), group = lane / 4, member = lane % 4;
  std::uint32_t a[4], b[2];
  for (int i = 0; i < 4; ++i)
    a[i] = to_tf32(bits_of(p.a[(group + i % 2 * 8) * 8 + member + i / 2 * 4]));
  for (int i = 0; i < 2; ++i) b[i] = to_tf32(bits_of(p.b[group * 8 + member + i * 4]));
  float d[4] = {0, 0, 0, 0};
  mma(0.0f, d, a, b);
  for (int i = 0; i < 4; ++i) p.d[(group + i / 2 * 8) * 8 + member * 2 + i % 2] = d[i];
}

TEST(Matrix, ProductOfTf32RoundsItsOperands) {
  std::mt19937 generator(4);
  std::normal_distribution<float> normal;
  std::vector<float> a(128), b(64), d(128);
  for (float& x : a) x = normal(generator);
  for (float& x : b) x = normal(generator);
  launch({"product_tf32", 1, 32}, kStream, product_tf32, {a.data(), b.data(), d.data()});
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < 16; ++i)
    for (std::size_t j = 0; j < 8; ++j) {
      double sum = 0;
      for (std::size_t k = 0; k < 8; ++k)
        sum += static_cast<double>(a[i * 8 + k]) * static_cast<double>(b[j * 8 + k]);
      error += std::pow(d[i * 8 + j] - sum, 2);
      norm += sum * sum;
    }
  EXPECT_LT(std::sqrt(error / norm), 6e-4);
  EXPECT_GT(std::sqrt(error / norm), 5e-5);      // it is not f32 in disguise
  EXPECT_EQ(to_tf32(0x3F801000u), 0x3F802000u);  // a half rounds away from zero
  EXPECT_EQ(to_tf32(0xBF800FFFu), 0xBF800000u);
}

struct Bytes {
  std::uint16_t* out;  // [32,8]
  bool transposed;
};
struct Matrices {
  Array<f16, 256> rows;
};

__global__ void load_matrices(const Bytes __grid_constant__ p) {
  auto& s = shared<Matrices>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = 0; i < 8; ++i) {
    f16 x;
    x.bits = static_cast<std::uint16_t>(lane * 8 + i);
    s.rows[lane * 8 + i] = x;
  }
  __syncwarp();
  std::uint32_t r[4];
  if (p.transposed)
    ldmatrix_x4_trans(r, s.rows, lane * 8);
  else
    ldmatrix_x4(r, s.rows, lane * 8);
  for (int m = 0; m < 4; ++m) {
    p.out[lane * 8 + 2 * m] = static_cast<std::uint16_t>(r[m]);
    p.out[lane * 8 + 2 * m + 1] = static_cast<std::uint16_t>(r[m] >> 16);
  }
}

// "ldmatrix fragment layout for one 8x8 matrix with 16-bit elements": row 0 is T0 T0 T1 T1 T2 T2 T3
// T3, row 1 T4 ..., row 7 T28 ... T31; with .trans the matrix is loaded in column-major order.
TEST(Matrix, LdmatrixGivesEachLaneItsElements) {
  for (const bool transposed : {false, true}) {
    std::vector<std::uint16_t> out(256);
    launch({"load_matrices", 1, 32, shared_bytes<Matrices>()}, kStream, load_matrices,
           {out.data(), transposed});
    for (std::size_t m = 0; m < 4; ++m)
      for (std::size_t row = 0; row < 8; ++row)
        for (std::size_t column = 0; column < 8; ++column) {
          const std::size_t lane = transposed ? column * 4 + row / 2 : row * 4 + column / 2;
          const std::size_t half = transposed ? row % 2 : column % 2;
          EXPECT_EQ(out[lane * 8 + 2 * m + half], m * 64 + row * 8 + column);
        }
  }
}

struct Copies {
  const float* from;
  float* to;
  int valid;
};
struct Stages {
  Array<float, 3 * 32> a;
};

// Three copies in flight; each is read when its turn has come.
__global__ void pipeline(const Copies __grid_constant__ p) {
  auto& s = shared<Stages>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int stage = 0; stage < 3; ++stage) {
    if (lane < 8) cp_async<16>(s.a, stage * 32 + lane * 4, p.from + stage * 32 + lane * 4, p.valid);
    cp_async_commit();
  }
  cp_async_wait<2>();
  __syncwarp();
  p.to[lane] = s.a[lane];
  cp_async_wait<0>();
  __syncwarp();
  p.to[32 + lane] = s.a[32 + lane];
  p.to[64 + lane] = s.a[64 + lane];
}

TEST(AsyncCopy, GroupsCompleteInTurnAndFillWithZero) {
  std::vector<float> from(96), to(96);
  for (std::size_t i = 0; i < 96; ++i) from[i] = static_cast<float>(i + 1);
  for (const int valid : {16, 8, 0}) {
    launch({"pipeline", 1, 32, shared_bytes<Stages>()}, kStream, pipeline,
           {from.data(), to.data(), valid});
    for (std::size_t i = 0; i < 96; ++i)
      EXPECT_EQ(to[i], static_cast<int>(i % 4 * 4) < valid ? from[i] : 0.0f);
  }
}

}  // namespace
}  // namespace TILLER_DEVICE
}  // namespace tiller
