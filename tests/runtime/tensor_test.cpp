#include "runtime/tensor.h"

#include <gtest/gtest.h>

namespace tiller {
namespace {

Tensor counting(const Shape& shape) {
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return Tensor::from(values, shape);
}

TEST(Tensor, ChannelSliceSeesItsOwnColumns) {
  const Tensor t = counting({2, 3, 4});
  const Tensor slice = t.channels(1, 3);
  EXPECT_EQ(slice.shape(), Shape({2, 3, 2}));
  EXPECT_EQ(slice.row_stride(), 4);
  EXPECT_FALSE(slice.dense());
  EXPECT_EQ(slice.contiguous().to_vector<float>(),
            (std::vector<float>{1, 2, 5, 6, 9, 10, 13, 14, 17, 18, 21, 22}));
  EXPECT_EQ(slice.storage(), t.storage());
}

TEST(Tensor, SliceOfASlice) {
  const Tensor t = counting({4, 6});
  const Tensor inner = t.channels(1, 5).channels(1, 3).slice(1, 3);
  EXPECT_EQ(inner.to_vector<float>(), (std::vector<float>{8, 9, 14, 15}));
}

TEST(Tensor, SliceOfAVector) {
  const Tensor t = counting({5}).slice(2, 4);
  EXPECT_EQ(t.shape(), Shape({2}));
  EXPECT_EQ(t.to_vector<float>(), (std::vector<float>{2, 3}));
}

TEST(Tensor, BatchSliceIsDense) {
  const Tensor t = counting({3, 2, 2}).slice(1, 3);
  EXPECT_TRUE(t.dense());
  EXPECT_EQ(t.to_vector<float>(), (std::vector<float>{4, 5, 6, 7, 8, 9, 10, 11}));
}

TEST(Tensor, ReshapeRegroupsLeadingDimensionsOfASlice) {
  const Tensor slice = counting({2, 3, 4}).channels(0, 2);
  EXPECT_EQ(slice.reshape({6, 2}).to_vector<float>(), slice.to_vector<float>());
  EXPECT_THROW(slice.reshape({3, 4}), Error);
  EXPECT_THROW(slice.reshape({5, 2}), Error);
}

TEST(Tensor, CopyFromRespectsStrides) {
  const Tensor wide = Tensor::zeros({2, 4});
  wide.channels(1, 3).copy_from(counting({2, 2}));
  EXPECT_EQ(wide.to_vector<float>(), (std::vector<float>{0, 0, 1, 0, 0, 2, 3, 0}));
  wide.channels(2, 4).fill_zero();
  EXPECT_EQ(wide.to_vector<float>(), (std::vector<float>{0, 0, 0, 0, 0, 2, 0, 0}));
}

TEST(Tensor, WrongDtypeIsNamed) {
  const Tensor t = counting({2});
  try {
    t.data<double>();
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "f32[2] was read as f64");
  }
}

TEST(Tensor, AlignmentIsJudgedByOffsetAndStride) {
  const Tensor t = Tensor::empty({4, 32});
  EXPECT_TRUE(t.aligned(64));
  EXPECT_TRUE(t.channels(8, 16).aligned(32));
  EXPECT_FALSE(t.channels(1, 9).aligned(8));
  EXPECT_FALSE(Tensor::empty({4, 33}).channels(0, 32).aligned(8));
}

TEST(Tensor, ViewStaysWithinItsStorage) {
  const Tensor t = counting({4});
  EXPECT_EQ(Tensor::view(t.storage(), {3}, DType::f32, 1).to_vector<float>(),
            (std::vector<float>{1, 2, 3}));
  EXPECT_THROW(Tensor::view(t.storage(), {4}, DType::f32, 1), Error);
  EXPECT_THROW(Tensor::view(t.storage(), {2, 2}, DType::f32, 0, 3), Error);
}

TEST(Tensor, EmptyTensorsHaveNoRows) {
  const Tensor t = Tensor::zeros({0, 3});
  EXPECT_EQ(t.rows(), 0);
  EXPECT_EQ(t.to_vector<float>().size(), 0u);
  EXPECT_EQ(Tensor::zeros({3, 0}).rows(), 0);
}

TEST(Tensor, MetaTensorsHaveShapesWithoutBytes) {
  Backend& meta = backend(kMeta);
  const std::size_t before = meta.memory().live;
  {
    const Tensor t = Tensor::empty({1024, 1024, 1024}, DType::f32, kMeta);
    EXPECT_EQ(t.raw(), nullptr);
    EXPECT_EQ(t.channels(8, 16).raw(), nullptr);
    EXPECT_EQ(meta.memory().live - before, std::size_t{1} << 32);
    EXPECT_THROW(Tensor::empty({1024, 1024, 1024}).copy_from(t), Error);
  }
  EXPECT_EQ(meta.memory().live, before);
}

TEST(Shape, SixDimensionsAtMost) {
  EXPECT_NO_THROW(Shape({1, 2, 3, 4, 5, 6}));
  EXPECT_THROW(Shape({1, 2, 3, 4, 5, 6, 7}), Error);
  EXPECT_THROW(Shape({-1}), Error);
  EXPECT_EQ(to_string(Shape({2, 64, 64, 192})), "[2,64,64,192]");
  EXPECT_EQ(Shape({2, 3})[-1], 3);
}

}  // namespace
}  // namespace tiller
