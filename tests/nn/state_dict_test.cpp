// Names, order, layouts and bytes of a state dict: what is loaded is saved again, from every
// container.

#include "tests/nn/reference.h"
#include "tests/runtime/files_util.h"

namespace tiller::test {
namespace {

using tiller::testing::read_bytes;
using tiller::testing::TemporaryFolder;

std::vector<std::uint8_t> bytes_of(const Tensor& t) {
  const auto* begin = static_cast<const std::uint8_t*>(t.raw());
  return {begin, begin + t.bytes()};
}

// Names, their order, shapes, dtypes and every byte.
void expect_same_tensors(const Checkpoint& a, const Checkpoint& b) {
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (std::size_t i = 0; i < a.tensors().size(); ++i) {
    const FileTensor &x = a.tensors()[i], &y = b.tensors()[i];
    SCOPED_TRACE(x.name);
    EXPECT_EQ(x.name, y.name);
    EXPECT_EQ(x.shape, y.shape);
    EXPECT_EQ(x.dtype, y.dtype);
    EXPECT_EQ(bytes_of(a.read(x)), bytes_of(b.read(y)));
  }
}

class RoundTrip : public ::testing::TestWithParam<const char*> {};

TEST_P(RoundTrip, KeepsNamesOrderShapesAndBytes) {
  const auto c = find_case(GetParam());
  if (!c) GTEST_SKIP() << kNoReference;
  const TemporaryFolder folder;
  const Checkpoint original = Checkpoint::open(find_reference(c->checkpoint).value());
  const std::string first = folder / "first.pt", second = folder / "second.pt";
  write_pt(first, state_dict(load(*c).parameters()));
  expect_same_tensors(original, Checkpoint::open(first));
  const auto source = load_parameters(Checkpoint::open(first));
  if (c->is_classifier)
    write_pt(second, state_dict(Classifier(c->classifier, *source).parameters()));
  else
    write_pt(second, state_dict(UNet(c->unet, *source).parameters()));
  EXPECT_EQ(read_bytes(first), read_bytes(second));  // the whole file
  write_safetensors(folder / "third.safetensors", state_dict(load(*c).parameters()), {});
  const Checkpoint third = Checkpoint::open(folder / "third.safetensors");
  ASSERT_EQ(third.tensors().size(), original.tensors().size());
  for (const FileTensor& tensor : original.tensors())
    EXPECT_EQ(bytes_of(third.read(tensor.name)), bytes_of(original.read(tensor))) << tensor.name;
}

INSTANTIATE_TEST_SUITE_P(PyTorch, RoundTrip,
                         ::testing::Values("unet_plain", "unet_cond", "classifier_attention",
                                           "unet_64", "unet_heads_up", "unet_fraction",
                                           "superres_64", "classifier_64", "classifier_adaptive",
                                           "classifier_spatial", "classifier_spatial_v2"),
                         [](const auto& info) { return std::string(info.param); });

class Container : public ::testing::TestWithParam<const char*> {};

TEST_P(Container, HoldsTheSameNetwork) {
  const std::string file = std::string("unet_plain.") + GetParam() + ".pt";
  if (!find_reference(file)) GTEST_SKIP() << kNoReference;
  const Case c = find_case("unet_plain").value();
  const Network original = load(c), other = load(c, DType::f32, file);
  const bool half = file == "unet_plain.half.pt";
  const auto& ours = other.parameters().all();
  ASSERT_EQ(ours.size(), original.parameters().all().size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const Parameter& p = original.parameters().all()[i];
    const Tensor expected =
        half ? cast_on_host(cast_on_host(p.value, DType::f16), DType::f32) : p.value;
    EXPECT_EQ(doubles(ours[i].value), doubles(expected)) << p.key;
  }
  const NpzReader reference = NpzReader::open(find_reference("unet_plain.npz").value());
  const Inputs in = read_inputs(reference);
  expect_close("out", other(in.x, in).value(), read_floats(reference, "out"), half ? 2e-3 : 1e-5);
}

INSTANTIATE_TEST_SUITE_P(PyTorch, Container,
                         ::testing::Values("legacy", "half", "flat", "parameters", "nested"),
                         [](const auto& info) { return std::string(info.param); });

TEST(StateDict, LayoutsArePermutedOnTheWayInAndOut) {
  // [K,C,R,S] = [2,3,1,2] in the file; here [K,R,S,C].
  std::vector<float> values(12);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const Tensor in_file = Tensor::from(values, {2, 3, 1, 2});
  const Tensor here = from_file_layout(in_file, {2, 1, 2, 3}, FileLayout::oihw);
  EXPECT_EQ(here.to_vector<float>(), (std::vector<float>{0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11}));
  EXPECT_EQ(to_file_layout(here, {2, 3, 1, 2}, FileLayout::oihw).to_vector<float>(), values);
  const Tensor matrix = Tensor::from(values, {4, 3});
  const Tensor turned = from_file_layout(matrix, {3, 4}, FileLayout::transposed);
  EXPECT_EQ(turned.to_vector<float>(), (std::vector<float>{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11}));
  EXPECT_EQ(to_file_layout(turned, {4, 3}, FileLayout::transposed).to_vector<float>(), values);
  EXPECT_EQ(from_file_layout(matrix.reshape({4, 3, 1}), {4, 3}, FileLayout::conv1d).shape(),
            (Shape{4, 3}));
  EXPECT_THROW(from_file_layout(matrix, {5, 3}, FileLayout::same), Error);
}

// Writing to a loaded parameter (as an optimizer does) must not reach the mapped file.
TEST(StateDict, ParametersOwnTheirBytes) {
  const Case c = find_case("unet_plain").value();
  const Network network = load(c);
  const Parameter& p = *network.parameters().find("time_embed.0.bias");
  const float before = p.value.data<float>()[0];
  p.value.data<float>()[0] = before + 1;
  EXPECT_EQ(load(c).parameters().find("time_embed.0.bias")->value.data<float>()[0], before);
}

}  // namespace
}  // namespace tiller::test
