// mbarrier, TMA and wgmma: a product and a convolution by them, layouts from PTX's manual, and every
// way to get them wrong.
#include <cmath>
#include <random>

#include "tests/simt/gemm90.cuh"
#include "tests/simt/kernel_util.h"

namespace tiller {
inline namespace TILLER_DEVICE {
namespace {

struct alignas(16) AlignedHalf {
  f16 v[8];
};

// Halves with few bits, whose products add up exactly in f32, at an address that TMA takes.
struct Halves {
  Halves(std::size_t count, unsigned seed) : storage((count + 7) / 8) {
    std::mt19937 generator(seed);
    for (std::size_t i = 0; i < count; ++i)
      data()[i] = f16(static_cast<float>(static_cast<int>(generator() % 15) - 7) / 8.0f);
  }
  f16* data() { return storage.front().v; }
  float operator[](std::size_t i) const { return storage[i / 8].v[i % 8]; }
  std::vector<AlignedHalf> storage;
};

TensorMapSpec matrix_spec(const f16* data, int rows, int columns, int box_rows) {
  TensorMapSpec spec;
  spec.data = data;
  spec.size[0] = columns;
  spec.size[1] = rows;
  spec.stride[0] = 1;
  spec.stride[1] = columns;
  spec.box[0] = kTerms90;
  spec.box[1] = box_rows;
  spec.swizzle_128 = true;
  return spec;
}

LaunchConfig config_of(const Gemm90Params& p) {
  return {"gemm90",
          dim3(static_cast<unsigned>((p.m + kRows90 - 1) / kRows90),
               static_cast<unsigned>((p.n + kColumns90 - 1) / kColumns90)),
          kThreads90, shared_bytes<Gemm90Storage>()};
}

// A product of [m,k] and [n,k].
struct Product {
  Product(int rows, int columns, int terms)
      : a(static_cast<std::size_t>(rows * terms), 1),
        b(static_cast<std::size_t>(columns * terms), 2),
        d(static_cast<std::size_t>(rows * columns), NAN) {
    p.a = tiled_map(matrix_spec(a.data(), rows, terms, kRows90));
    p.b = tiled_map(matrix_spec(b.data(), columns, terms, kColumns90));
    p.d = d.data();
    p.m = rows;
    p.n = columns;
    p.k = terms;
  }
  double expected(int i, int j) const {
    double sum = 0;
    for (int k = 0; k < p.k; ++k)
      sum += static_cast<double>(a[static_cast<std::size_t>(i * p.k + k)]) *
             b[static_cast<std::size_t>(j * p.k + k)];
    return sum;
  }
  Halves a, b;
  std::vector<float> d;
  Gemm90Params p{};
};

TEST(Hopper, AProductByTmaAndWgmma) {
  struct Sizes {
    int m, n, k;
  };
  // More steps than stages, ragged rows and columns; one step; several tiles.
  for (const Sizes& z : {Sizes{100, 40, 320}, {128, 64, 64}, {200, 72, 64}})
    for (const executor::Order& order : orders()) {
      if (z.k == 64 && order.kind == executor::Order::Kind::random) continue;
      const executor::OrderGuard guard(order);
      Product product(z.m, z.n, z.k);
      launch(config_of(product.p), kStream, gemm90_kernel<false>, product.p);
      for (int i = 0; i < z.m; ++i)
        for (int j = 0; j < z.n; ++j)
          ASSERT_EQ(product.d[static_cast<std::size_t>(i * z.n + j)], product.expected(i, j))
              << i << "," << j << " " << to_string(order);
    }
}

// 3x3 with padding 1 over tiles that cross rows and images.
TEST(Hopper, AConvolutionByIm2col) {
  const int n = 3, h = 6, w = 9, c = 64, k = 24;
  Halves x(static_cast<std::size_t>(n * h * w * c), 3),
      weight(static_cast<std::size_t>(k * 9 * c), 4);
  std::vector<float> y(static_cast<std::size_t>(n * h * w * k), NAN);
  TensorMapSpec image;
  image.data = x.data();
  image.rank = 4;
  const std::int64_t size[] = {c, w, h, n}, stride[] = {1, c, w * c, h * w * c};
  std::copy_n(size, 4, image.size);
  std::copy_n(stride, 4, image.stride);
  image.swizzle_128 = true;
  image.channels = kTerms90;
  image.pixels = kRows90;
  image.lower[0] = image.lower[1] = image.upper[0] = image.upper[1] = -1;
  Gemm90Params p{};
  p.a = im2col_map(image);
  p.b = tiled_map(matrix_spec(weight.data(), k, 9 * c, kColumns90));
  p.d = y.data();
  p.m = n * h * w;
  p.n = k;
  p.k = 9 * c;
  p.h = h;
  p.w = w;
  p.c = c;
  launch(config_of(p), kStream, gemm90_kernel<false>, p);
  for (int i = 0; i < n * h * w; ++i)
    for (int j = 0; j < k; ++j) {
      double sum = 0;
      for (int r = 0; r < 3; ++r)
        for (int s = 0; s < 3; ++s) {
          const int row = i / w % h + r - 1, column = i % w + s - 1;
          if (row < 0 || row >= h || column < 0 || column >= w) continue;
          for (int e = 0; e < c; ++e)
            sum += static_cast<double>(
                       x[static_cast<std::size_t>(((i / w / h * h + row) * w + column) * c + e)]) *
                   weight[static_cast<std::size_t>((j * 9 + r * 3 + s) * c + e)];
        }
      ASSERT_EQ(y[static_cast<std::size_t>(i * k + j)], sum) << i << "," << j;
    }
}

// PTX ISA, figure "WGMMA .m64nNk16 register fragment layout for accumulator matrix D".
TEST(Hopper, AccumulatorsAreWherePtxSays) {
  struct Row {
    unsigned thread;
    int element, row, column;
  };
  for (const Row& r : {Row{0, 0, 0, 0},
                       {0, 1, 0, 1},
                       {1, 0, 0, 2},
                       {3, 1, 0, 7},
                       {4, 0, 1, 0},
                       {0, 2, 8, 0},
                       {0, 4, 0, 8},
                       {31, 3, 15, 7},
                       {32, 0, 16, 0},
                       {64, 0, 32, 0},
                       {96, 2, 56, 0},
                       {127, 127, 63, 255},
                       {127, 125, 55, 255}}) {
    const executor::Element at = executor::wgmma_fragment(r.thread, r.element);
    EXPECT_EQ(at.row, r.row) << r.thread << ":" << r.element;
    EXPECT_EQ(at.column, r.column) << r.thread << ":" << r.element;
  }
}

// CUDA driver API, CU_TENSOR_MAP_SWIZZLE_128B: vector v of row r stands at v ^ (r % 8).
TEST(Hopper, SwizzleOf128Bytes) {
  for (std::size_t row = 0; row < 16; ++row)
    for (std::size_t v = 0; v < 8; ++v)
      EXPECT_EQ(executor::swizzle_128(row * 128 + v * 16), row * 128 + (v ^ row % 8) * 16);
}

struct Wrong {
  Mistake mistake;
  std::vector<std::string> parts;
};
void PrintTo(const Wrong& w, std::ostream* out) { *out << static_cast<int>(w.mistake); }
class HopperBugs : public testing::TestWithParam<Wrong> {};

TEST_P(HopperBugs, AreCaughtAndNamed) {
  for (const executor::Order& order : orders()) {
    const executor::OrderGuard guard(order);
    Product product(128, 64, 320);
    product.p.mistake = GetParam().mistake;
    std::string message;
    try {
      launch(config_of(product.p), kStream, gemm90_kernel<true>, product.p);
    } catch (const Error& error) {
      message = error.what();
    }
    for (const std::string& part : GetParam().parts) TILLER_EXPECT_HAS(message, part);
    TILLER_EXPECT_HAS(message, to_string(order));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Each, HopperBugs,
    testing::Values(
        Wrong{Mistake::no_wait, {"shared byte", "gemm90.cuh"}},
        Wrong{Mistake::wrong_parity, {"shared byte", "gemm90.cuh"}},
        Wrong{Mistake::early_release, {"shared byte", "gemm90.cuh"}},
        Wrong{Mistake::no_wait_for_room, {"more than the 1 arrivals of a phase"}},
        Wrong{Mistake::no_wgmma_wait, {"wgmma_wait<0>() is missing"}},
        Wrong{Mistake::no_wgmma_fence, {"wgmma_fence() is missing"}},
        Wrong{Mistake::write_in_flight, {"wrote accumulator 3 while a product was in flight"}},
        Wrong{Mistake::wrong_bytes,
              {"deadlock", "mbarrier_wait at tests/simt/gemm90.cuh",
               "awaits 0 of 1 arrivals and 16 bytes"}},
        Wrong{Mistake::no_barrier_fence, {"nobody called fence_barrier_init()"}},
        Wrong{Mistake::no_barrier, {"shared byte", "gemm90.cuh"}},
        Wrong{Mistake::not_initialised, {"mbarrier_init() is missing"}},
        Wrong{Mistake::too_many_arrivals, {"gemm90.cuh"}},
        Wrong{Mistake::odd_target, {"is not a multiple of 1024"}},
        Wrong{Mistake::odd_descriptor, {"a descriptor that starts at shared byte"}},
        Wrong{Mistake::outside, {"ends behind"}},
        Wrong{Mistake::one_warp_less, {"asked for 16 products", "of its warpgroup for 20"}},
        Wrong{Mistake::forgotten_copy, {"TMA cop", "gemm90.cuh"}}));

struct FenceParams {
  bool fence, inc_first;
};
struct FenceStorage {
  Array<f16, 64 * 64> a, b;
};

// Tiles that threads write themselves: wgmma sees them behind a fence of the proxies.
__global__ void own_tiles(const FenceParams __grid_constant__ p) {
  auto& s = shared<FenceStorage>();
  for (int i = static_cast<int>(threadIdx.x); i < 64 * 64; i += 128) {
    s.a[i] = f16(1.0f);
    s.b[i] = f16(2.0f);
  }
  if (p.fence) fence_proxy_async();
  __syncthreads();
  float sum[32] = {};
  wgmma_fence();
  wgmma<64>(f16{}, sum, tile_descriptor(s.a, 0), tile_descriptor(s.b, 0), false);
  wgmma_commit();
  wgmma_wait<0>();
  for (const float v : sum) device_check(v == 32.0f, "a sum is %f", static_cast<double>(v));
  if (p.inc_first) {
    take_registers<232>();
    give_registers<240>();
  }
}

TEST(HopperBugs, FencesOfTheProxiesAndRegisters) {
  const auto run = [](bool fence, bool registers) {
    return fault_of(own_tiles, FenceParams{fence, registers}, 128, shared_bytes<FenceStorage>());
  };
  EXPECT_EQ(run(true, false), "");
  TILLER_EXPECT_HAS(run(false, false), "called no fence_proxy_async() behind that");
  TILLER_EXPECT_HAS(run(true, true), "setmaxnreg.dec to 240 registers, from 232");
}

TEST(Hopper, MapsThatTheDriverWouldRefuse) {
  Halves x(64 * 64, 1);
  const TensorMapSpec good = matrix_spec(x.data(), 64, 64, 64);
  const auto message = [](const TensorMapSpec& spec) -> std::string {
    try {
      tiled_map(spec);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message(good), "");
  TensorMapSpec bad = good;
  bad.data = x.data() + 1;
  TILLER_EXPECT_HAS(message(bad), "not aligned to 16 bytes");
  bad = good;
  bad.stride[1] = 65;
  TILLER_EXPECT_HAS(message(bad), "no multiple of 16");
  bad = good;
  bad.box[1] = 257;
  TILLER_EXPECT_HAS(message(bad), "1 to 256 are possible");
  bad = good;
  bad.box[0] = 128;
  TILLER_EXPECT_HAS(message(bad), "wider than the swizzle's 128");
  bad = good;
  bad.box[0] = 4;
  TILLER_EXPECT_HAS(message(bad), "rows of a box are 8 bytes");
}

}  // namespace
}  // namespace TILLER_DEVICE
}  // namespace tiller
