#include "kernels/embedding/embedding.h"

#include "kernels/embedding/reference.h"
#include "runtime/files/npz.h"
#include "tests/kernels/agree.h"

namespace tiller {
namespace {

using namespace test;

Tensor some_index(std::int64_t n, std::int64_t v) {
  std::vector<std::int64_t> index;
  for (std::int64_t i = 0; i < n; ++i) index.push_back(i * 5 % v);
  return Tensor::from(index, {n});
}

TEST(EmbeddingTest, RowsAgreeWithTheReference) {
  for (const std::int64_t c : {1, 6, 64, 2500})
    for (const bool with_addend : {false, true}) {
      SCOPED_TRACE(testing::Message() << "C=" << c << " addend=" << with_addend);
      const auto forward = [&](DType dtype, DType through) {
        const DType wide = accumulate_dtype(dtype);
        EmbeddingFwdArgs args{as_slice(input({11, c}, wide, DType::f32, 1)),
                              some_index(9, 11),
                              {},
                              as_slice(output({9, c}, dtype))};
        if (with_addend) args.addend = as_slice(input({9, c}, dtype, through, 2));
        return args;
      };
      expect_rows_agree(
          embedding_fwd, forward,
          [](const auto& a) {
            return Outputs{{"y", a.y}};
          },
          2);
      const auto backward = [&](DType dtype, DType through) {
        return EmbeddingBwdArgs{some_index(40, 11), as_slice(input({40, c}, dtype, through, 3)),
                                as_slice(output({13, c}, accumulate_dtype(dtype)))};
      };
      expect_rows_agree(
          embedding_bwd, backward,
          [](const auto& a) {
            return Outputs{{"dtable", a.dtable}};
          },
          3);
    }
}

TEST(EmbeddingTest, PicksAndScattersRows) {
  const Tensor table = randn({4, 3}, DType::f64, 1), dy = randn({3, 3}, DType::f64, 2);
  const Tensor index = Tensor::from(std::vector<std::int64_t>{2, 0, 2}, {3});
  const Tensor y = output({3, 3}, DType::f64), dtable = output({4, 3}, DType::f64);
  run(embedding_fwd, EmbeddingFwdArgs{table, index, {}, y});
  run(embedding_bwd, EmbeddingBwdArgs{index, dy, dtable});
  for (int c = 0; c < 3; ++c) {
    EXPECT_EQ(y.data<double>()[c], table.data<double>()[6 + c]);
    EXPECT_EQ(y.data<double>()[3 + c], table.data<double>()[c]);
    EXPECT_EQ(dtable.data<double>()[c], dy.data<double>()[3 + c]);
    EXPECT_EQ(dtable.data<double>()[3 + c], 0);
    EXPECT_DOUBLE_EQ(dtable.data<double>()[6 + c], dy.data<double>()[c] + dy.data<double>()[6 + c]);
  }
}

// In f32 the rows must do as PyTorch does, not come near the exact value: at t = 1000 the rounding
// of a frequency alone moves a cosine by 6e-5.
TEST(EmbeddingTest, TimestepsArePyTorchs) {
  const NpzReader file = NpzReader::open(TILLER_TEST_DATA "/timestep_embedding.npz");
  const Tensor t = file.read("t");
  for (const char* key : {"dim32", "dim64", "dim192", "dim33"}) {
    SCOPED_TRACE(key);
    const Tensor expected = file.read(key);
    const TimestepEmbeddingArgs args{t, as_slice(output(expected.shape(), DType::f32))};
    check(args);
    for_each_row(timestep_embedding_fwd, args, [&](const auto&) {
      poison(args.y);
      run(timestep_embedding_fwd, args);
      EXPECT_LT(relative_error(args.y, expected), 1e-6);
      const std::vector<double> got = doubles(args.y), want = doubles(expected);
      for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-6) << i;
    });
  }
}

TEST(EmbeddingTest, TimestepRowsAgreeWithTheReference) {
  for (const std::int64_t dim : {1, 2, 7, 192}) {
    const auto make = [&](DType dtype, DType) {
      const Tensor t = tensor_of({0, 1, 2.5, -3.25, 17}, {5}, accumulate_dtype(dtype));
      return TimestepEmbeddingArgs{t, as_slice(output({5, dim}, dtype))};
    };
    expect_rows_agree(
        timestep_embedding_fwd, make,
        [](const auto& a) {
          return Outputs{{"y", a.y}};
        },
        2);
  }
}

TEST(EmbeddingTest, TimestepFormula) {
  const Tensor t = tensor_of({3.5}, {1}, DType::f64), y = output({1, 7}, DType::f64);
  run(timestep_embedding_fwd, TimestepEmbeddingArgs{t, y, 100});
  for (int i = 0; i < 3; ++i) {
    const double angle = 3.5 * std::pow(100, -i / 3.0);
    EXPECT_NEAR(y.data<double>()[i], std::cos(angle), 1e-14);
    EXPECT_NEAR(y.data<double>()[3 + i], std::sin(angle), 1e-14);
  }
  EXPECT_EQ(y.data<double>()[6], 0);
}

TEST(EmbeddingTest, NoEntries) {
  const Tensor index = Tensor::empty({0}, DType::i64);
  const EmbeddingFwdArgs forward{Tensor::empty({4, 3}), index, {}, Tensor::empty({0, 3})};
  const EmbeddingBwdArgs backward{index, Tensor::empty({0, 3}), output({4, 3}, DType::f32)};
  const TimestepEmbeddingArgs timestep{Tensor::empty({0}), Tensor::empty({0, 8})};
  check(forward), check(backward), check(timestep);
  for_each_row(embedding_fwd, forward, [&](const auto&) { run(embedding_fwd, forward); });
  for_each_row(embedding_bwd, backward, [&](const auto&) {
    poison(backward.dtable);
    run(embedding_bwd, backward);
    for (const double v : doubles(backward.dtable)) EXPECT_EQ(v, 0);
  });
  for_each_row(timestep_embedding_fwd, timestep,
               [&](const auto&) { run(timestep_embedding_fwd, timestep); });
}

TEST(EmbeddingTest, CostIsWhatTheReferenceDoes) {
  const Tensor table = as_slice(randn({7, 5}, DType::f64, 1)), index = some_index(4, 7);
  const Tensor addend = randn({4, 5}, DType::f64, 2), y = as_slice(output({4, 5}, DType::f64));
  const double index_bytes = static_cast<double>(index.bytes());
  expect_cost(EmbeddingFwdArgs{table, index, {}, y}, embedding_fwd_reference<Counted>, {table, y},
              index_bytes);
  expect_cost(EmbeddingFwdArgs{table, index, addend, y}, embedding_fwd_reference<Counted>,
              {table, addend, y}, index_bytes);
  const Tensor t = randn({4}, DType::f64, 3);
  for (const std::int64_t dim : {1, 6, 7}) {
    const Tensor out = output({4, dim}, DType::f64);
    expect_cost(TimestepEmbeddingArgs{t, out}, timestep_embedding_reference<Counted>, {t, out});
  }
  // The gradient's own sums are read back, so inputs and outputs are counted apart.
  const EmbeddingBwdArgs backward{index, addend, table};
  Counter counter;
  counter.watch(addend), counter.watch(table);
  {
    const CountGuard guard(counter);
    embedding_bwd_reference<Counted>(backward);
  }
  EXPECT_EQ(counter.flops(), cost(backward).flops);
  EXPECT_EQ(8.0 * static_cast<double>(counter.elements_read(addend)) + index_bytes,
            cost(backward).bytes_read);
  EXPECT_EQ(8.0 * static_cast<double>(counter.elements_written(table)),
            cost(backward).bytes_written);
}

TEST(EmbeddingTest, WrongArgumentsAreNamed) {
  const Tensor table = Tensor::empty({4, 3}), y = Tensor::empty({2, 3});
  EXPECT_NE(message_of([&] {
              check(EmbeddingFwdArgs{table, Tensor::empty({2}), {}, y});
            }).find("index f32[2] is not i64"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              check(EmbeddingFwdArgs{table, some_index(2, 4), {}, Tensor::empty({2, 4})});
            }).find("y is f32[2,4], not [2,3]"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              check(TimestepEmbeddingArgs{Tensor::empty({2}, DType::f16), y});
            }).find("t f16[2] is not f32"),
            std::string::npos);
}

}  // namespace
}  // namespace tiller
