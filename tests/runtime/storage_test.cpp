#include "runtime/storage.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/half.h"
#include "runtime/tensor.h"

namespace tiller {
namespace {

TEST(Derived, IsMadeOnceUntilTheVersionMoves) {
  const Tensor w = Tensor::from(std::vector<float>{1, 2}, {2});
  int made = 0;
  const auto form = [&] {
    return derived(w, "twice", [&] {
      ++made;
      return Tensor::from(std::vector<float>{2 * w.data<float>()[0], 2 * w.data<float>()[1]}, {2});
    });
  };
  EXPECT_EQ(form().to_vector<float>(), (std::vector<float>{2, 4}));
  form();
  EXPECT_EQ(made, 1);
  EXPECT_EQ(w.storage()->derived_bytes(), 8u);
  w.data<float>()[0] = 5;
  w.bump_version();
  EXPECT_EQ(form().to_vector<float>(), (std::vector<float>{10, 4}));
  EXPECT_EQ(made, 2);
  w.storage()->drop_derived();
  EXPECT_EQ(w.storage()->derived_bytes(), 0u);
}

TEST(Derived, ViewsOfOneStorageHaveTheirOwnForms) {
  const Tensor flat = Tensor::from(std::vector<float>{1, 2, 3, 4}, {4});
  const Tensor a = Tensor::view(flat.storage(), {2}, DType::f32, 0);
  const Tensor b = Tensor::view(flat.storage(), {2}, DType::f32, 2);
  const auto copy = [](const Tensor& t) { return derived(t, "copy", [&] { return t.clone(); }); };
  EXPECT_EQ(copy(a).to_vector<float>(), (std::vector<float>{1, 2}));
  EXPECT_EQ(copy(b).to_vector<float>(), (std::vector<float>{3, 4}));
}

TEST(Derived, FormsMayBeDerivedFromForms) {
  const Tensor w = Tensor::from(std::vector<float>{1}, {1});
  const Tensor inner =
      derived(w, "outer", [&] { return derived(w, "inner", [&] { return w.clone(); }).clone(); });
  EXPECT_EQ(inner.to_vector<float>(), std::vector<float>{1});
}

TEST(Storage, BorrowedBytesKeepTheirOwnerAlive) {
  auto owner = std::make_shared<std::vector<float>>(std::vector<float>{7, 8});
  const std::weak_ptr<std::vector<float>> watch = owner;
  Tensor t = Tensor::view(Storage::borrow(owner->data(), 8, kCpu, owner), {2}, DType::f32);
  owner.reset();
  EXPECT_FALSE(watch.expired());
  EXPECT_EQ(t.to_vector<float>(), (std::vector<float>{7, 8}));
  t = {};
  EXPECT_TRUE(watch.expired());
}

TEST(CpuBackend, FreedBlocksAreReusedAndCounted) {
  Backend& cpu = backend(kCpu);
  cpu.release_cached();
  const MemoryStats before = cpu.memory();
  const void* first;
  {
    const Tensor t = Tensor::empty({1000, 1000});
    first = t.raw();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 64, 0u);
    EXPECT_GE(cpu.memory().live, before.live + 4000000);
  }
  EXPECT_EQ(cpu.memory().live, before.live);
  EXPECT_GE(cpu.memory().cached, 4000000u);
  EXPECT_EQ(Tensor::empty({1000, 1000}).raw(), first);
  cpu.release_cached();
  EXPECT_EQ(cpu.memory().cached, 0u);
}

TEST(CpuBackend, AnImpossibleSizeIsOutOfMemory) {
  try {
    Tensor::empty({std::int64_t{1} << 50});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::out_of_memory);
    EXPECT_EQ(error.exit_code(), 4);
    EXPECT_NE(std::string(error.what()).find("smaller batch"), std::string::npos) << error.what();
  }
}

// Every device works or says what is missing: the toolkit at build time, or the GPU here.
TEST(Backend, ADeviceThatIsMissingSaysSo) {
  EXPECT_TRUE(available(kCpu));
  for (const Device device : {Device{DeviceType::simt, 0}, Device{DeviceType::cuda, 0}}) {
    if (available(device)) {
      EXPECT_FALSE(backend(device).describe().empty());
      continue;
    }
    try {
      backend(device);
      FAIL();
    } catch (const Error& error) {
      const std::string message = error.what();
      // A flag that this build cannot serve, or a machine that lacks what the build could use.
      const bool no_gpu = message.find("no usable GPU") != std::string::npos;
      EXPECT_TRUE(no_gpu || message.find("built without the") != std::string::npos) << message;
      EXPECT_EQ(error.kind(), no_gpu ? ErrorKind::failed : ErrorKind::usage);
    }
  }
}

TEST(Backend, SimtPoisonsFreshBytes) {
  const Device simt{DeviceType::simt, 0};
  if (!available(simt)) GTEST_SKIP() << "this build has no simt";
  const std::size_t live = backend(simt).memory().live;
  {
    const Tensor t = Tensor::empty({3, 5}, DType::f32, simt);
    for (const float x : t.to_vector<float>()) EXPECT_TRUE(std::isnan(x));
    EXPECT_EQ(backend(simt).memory().live, live + 60);
    const Tensor zeros = Tensor::zeros({7}, DType::f32, simt);
    EXPECT_EQ(zeros.to_vector<float>(), std::vector<float>(7));
    EXPECT_EQ(zeros.to(kCpu).device(), kCpu);
  }
  EXPECT_EQ(backend(simt).memory().live, live);
}

// A kernel that writes beside its tensor damages another's; it is named when the block is freed.
TEST(BackendDeathTest, SimtFindsWritesBesideABlock) {
  const Device simt{DeviceType::simt, 0};
  if (!available(simt)) GTEST_SKIP() << "this build has no simt";
  EXPECT_DEATH(
      {
        const Tensor t = Tensor::empty({4}, DType::f32, simt);
        t.data<float>()[4] = 1;
      },
      "a kernel wrote beside a block of 16 bytes");
}

// [2][3][2] in the file's order; ours is [2][2][3].
Tensor frozen_example(const Tensor& values, const Shape& shape) {
  return Tensor::view(
      Storage::freeze({values.raw(), values.dtype(), 2, 3, 2, values.storage()}, kCpu), shape,
      DType::f32);
}

TEST(Frozen, BytesAreMadeOnFirstUseAndGivenBack) {
  const Tensor values =
      Tensor::from(std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {12});
  const std::vector<float> want{0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11};
  const Tensor w = frozen_example(values, {2, 2, 3});
  const std::size_t before = backend(kCpu).memory().live;
  EXPECT_FALSE(w.storage()->resident());
  EXPECT_EQ(w.bytes(), 48u);
  EXPECT_EQ(backend(kCpu).memory().live, before);
  EXPECT_EQ(w.to_vector<float>(), want);
  EXPECT_TRUE(w.storage()->resident());
  EXPECT_EQ(backend(kCpu).memory().live, before + 64);  // the allocator's smallest step
  w.storage()->release();
  EXPECT_FALSE(w.storage()->resident());
  EXPECT_EQ(backend(kCpu).memory().live, before);
  EXPECT_EQ(w.to_vector<float>(), want);
}

TEST(Frozen, HalfPrecisionIsWidened) {
  const Tensor values =
      Tensor::from(std::vector<float>{0, 1, -2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {12});
  for (const DType half : {DType::f16, DType::bf16}) {
    Tensor rounded = Tensor::empty({12}, half);
    for (std::int64_t i = 0; i < 12; ++i) {
      const float x = values.data<float>()[i];
      static_cast<std::uint16_t*>(rounded.raw())[i] =
          half == DType::f16 ? f16(x).bits : bf16(x).bits;
    }
    EXPECT_EQ(frozen_example(rounded, {2, 2, 3}).to_vector<float>(),
              (std::vector<float>{0, -2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11}));
  }
}

TEST(Frozen, WhoWritesMakesTheBytesItsOwn) {
  const Tensor values = Tensor::zeros({12});
  const Tensor w = frozen_example(values, {12});
  w.data<float>()[5] = 7;
  w.bump_version();
  w.storage()->release();
  EXPECT_EQ(w.storage()->frozen(), nullptr);
  EXPECT_EQ(w.to_vector<float>()[5], 7);
}

TEST(Frozen, TheSourceOutlivesItsMaker) {
  Tensor w;
  {
    const Tensor values = Tensor::from(std::vector<float>(12, 3), {12});
    w = frozen_example(values, {12});
  }
  EXPECT_EQ(w.to_vector<float>(), std::vector<float>(12, 3));
}

TEST(Frozen, HasNoBytesOnMetaAndRefusesWhatItCannotHold) {
  const std::size_t before = backend(kMeta).memory().live;
  {
    const Tensor w =
        Tensor::view(Storage::freeze({nullptr, DType::f32, 2, 3, 2, {}}, kMeta), {12}, DType::f32);
    EXPECT_EQ(w.raw(), nullptr);
    EXPECT_NE(w.storage()->frozen(), nullptr);
  }
  EXPECT_EQ(backend(kMeta).memory().live, before);
  EXPECT_THROW(Storage::freeze({nullptr, DType::f32, 2, 3, 2, {}}, kCpu), Error);
  EXPECT_THROW(Storage::freeze({&before, DType::i64, 1, 1, 1, {}}, kCpu), Error);
}

}  // namespace
}  // namespace tiller
