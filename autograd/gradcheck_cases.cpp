// Every operation with every option, small enough that central differences are quick.
#include <cmath>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"

namespace tiller {

namespace {

using Vars = std::vector<Var>;
using Input = GradcheckCase::Input;

// Collects cases. Every input gets random numbers of its own.
class Cases {
 public:
  Input activation(const Shape& shape) { return {random(shape), false}; }
  Input parameter(const Shape& shape) { return {random(shape), true}; }
  /// In [0.5, ...): for logarithms, roots and divisors.
  Input positive(const Shape& shape) {
    const Tensor t = random(shape);
    for (std::int64_t i = 0; i < t.numel(); ++i)
      t.data<double>()[i] = 0.5 + std::abs(t.data<double>()[i]);
    return {t, false};
  }
  void add(std::string name, GradcheckFunction f, std::vector<Input> inputs) {
    list.push_back({std::move(name), std::move(f), std::move(inputs)});
  }
  std::vector<GradcheckCase> list;

 private:
  Tensor random(const Shape& shape) {
    std::vector<float> normal(static_cast<std::size_t>(shape.numel()));
    philox_normal({7, next_++, 0, RandomStream::init}, shape.numel(), normal.data());
    return Tensor::from(std::vector<double>(normal.begin(), normal.end()), shape);
  }
  std::uint32_t next_ = 0;
};

void add_conv2d(Cases& c) {
  struct Form {
    const char* name;
    std::int64_t r;
    ConvGeometry geometry;
  };
  for (const Form& form : {Form{"3x3", 3, {1, 1, false}}, Form{"1x1", 1, {1, 0, false}},
                           Form{"stride 2", 3, {2, 1, false}}, Form{"up2x", 3, {1, 1, true}},
                           Form{"no padding", 3, {1, 0, false}}}) {
    const ConvGeometry g = form.geometry;
    c.add(std::string("conv2d ") + form.name,
          [g](const Vars& v) { return conv2d(v[0], v[1], v[2], {.geometry = g}).x; },
          {c.activation({2, 4, 6, 3}), c.parameter({5, form.r, form.r, 3}), c.parameter({5})});
    c.add(std::string("conv2d two sources, ") + form.name,
          [g](const Vars& v) { return conv2d(v[0], v[2], {}, {.geometry = g, .x1 = v[1]}).x; },
          {c.activation({1, 4, 4, 2}), c.activation({1, 4, 4, 3}),
           c.parameter({4, form.r, form.r, 5})});
  }
  c.add("conv2d residual",
        [](const Vars& v) {
          return conv2d(v[0], v[1], v[2], {.geometry = {1, 1}, .residual = v[3]}).x;
        },
        {c.activation({2, 4, 4, 3}), c.parameter({5, 3, 3, 3}), c.parameter({5}),
         c.activation({2, 4, 4, 5})});
  c.add("conv2d up2x, residual up2x",
        [](const Vars& v) {
          return conv2d(v[0], v[1], v[2],
                        {.geometry = {1, 1, true}, .residual = v[3], .residual_up2x = true})
              .x;
        },
        {c.activation({1, 3, 2, 3}), c.parameter({4, 3, 3, 3}), c.parameter({4}),
         c.activation({1, 3, 2, 4})});
  c.add("conv2d skip operand",
        [](const Vars& v) {
          return conv2d(v[0], v[1], v[2],
                        {.geometry = {1, 1}, .skip0 = v[3], .skip_w = v[4], .skip_bias = v[5]})
              .x;
        },
        {c.activation({2, 4, 4, 3}), c.parameter({5, 3, 3, 3}), c.parameter({5}),
         c.activation({2, 4, 4, 2}), c.parameter({5, 1, 1, 2}), c.parameter({5})});
  c.add("conv2d everything",
        [](const Vars& v) {
          return conv2d(v[0], v[2], v[3],
                        {.geometry = {1, 1, true},
                         .x1 = v[1],
                         .residual = v[4],
                         .residual_up2x = true,
                         .skip0 = v[5],
                         .skip1 = v[6],
                         .skip_w = v[7],
                         .skip_bias = v[8],
                         .stats = true})
              .x;
        },
        {c.activation({1, 2, 2, 3}), c.activation({1, 2, 2, 1}), c.parameter({4, 3, 3, 4}),
         c.parameter({4}), c.activation({1, 2, 2, 4}), c.activation({1, 4, 4, 2}),
         c.activation({1, 4, 4, 3}), c.parameter({4, 1, 1, 5}), c.parameter({4})});
}

void add_linear(Cases& c) {
  for (const bool silu : {false, true}) {
    const std::string suffix = silu ? ", silu input" : "";
    c.add("linear" + suffix, [silu](const Vars& v) { return linear(v[0], v[1], v[2], {}, silu); },
          {c.activation({3, 5}), c.parameter({4, 5}), c.parameter({4})});
    c.add(
        "linear of tokens, residual" + suffix,
        [silu](const Vars& v) { return linear(v[0], v[1], v[2], v[3], silu); },
        {c.activation({2, 3, 5}), c.parameter({4, 5}), c.parameter({4}), c.activation({2, 3, 4})});
  }
  c.add("linear without bias", [](const Vars& v) { return linear(v[0], v[1], {}); },
        {c.activation({3, 5}), c.parameter({4, 5})});
}

void add_group_norm(Cases& c) {
  for (int bits = 0; bits < 16; ++bits) {
    const bool two = bits & 1, emb = bits & 2, silu = bits & 4, pool = bits & 8;
    std::string name = "group_norm";
    if (two) name += ", two sources";
    if (emb) name += ", scale-shift";
    if (silu) name += ", silu";
    if (pool) name += ", pool";
    std::vector<Input> inputs{c.activation({2, 4, 2, two ? 4 : 6}), c.parameter({6}),
                              c.parameter({6})};
    if (two) inputs.push_back(c.activation({2, 4, 2, 2}));
    if (emb) inputs.push_back(c.activation({2, 12}));
    c.add(
        name,
        [=](const Vars& v) {
          const GroupNormOptions options{.groups = 3,
                                         .eps = 1e-5,
                                         .emb = emb ? v[two ? 4 : 3] : Var(),
                                         .silu = silu,
                                         .pool = pool};
          return two ? group_norm(v[0], v[3], v[1], v[2], options)
                     : group_norm(v[0], v[1], v[2], options);
        },
        inputs);
  }
  c.add("group_norm of tokens",
        [](const Vars& v) { return group_norm(v[0], v[1], v[2], {.groups = 2, .emb = {}}); },
        {c.activation({2, 5, 4}), c.parameter({4}), c.parameter({4})});
  c.add("normed_linear",
        [](const Vars& v) {
          return normed_linear(v[0], v[1], v[2], v[3], v[4], {.groups = 2, .emb = {}});
        },
        {c.activation({2, 5, 4}), c.parameter({4}), c.parameter({4}), c.parameter({6, 4}),
         c.parameter({6})});
}

void add_attention(Cases& c) {
  for (const QkvOrder order : {QkvOrder::legacy, QkvOrder::split})
    for (const bool one_query : {false, true})
      c.add(fmt::format("attention {}{}", name(order), one_query ? ", one query" : ""),
            [=](const Vars& v) { return attention(v[0], 2, order, one_query); },
            {c.activation({2, 4, 18})});
  c.add("pool_tokens", [](const Vars& v) { return pool_tokens(v[0], v[1]); },
        {c.activation({2, 4, 3}), c.parameter({5, 3})});
}

void add_elementwise(Cases& c) {
  const Shape shape{2, 3, 2, 4};
  const auto unary = [&](const char* name, Var (*f)(const Var&), bool positive = false) {
    c.add(name, [f](const Vars& v) { return f(v[0]); },
          {positive ? c.positive(shape) : c.activation(shape)});
  };
  unary("silu", silu);
  unary("exp", exp);
  unary("log", log, true);
  unary("sqrt", sqrt, true);
  unary("square", square);
  unary("abs", abs);
  unary("tanh", tanh);
  c.add("affine", [](const Vars& v) { return affine(v[0], -1.5, 0.25); }, {c.activation(shape)});
  c.add("clamp", [](const Vars& v) { return clamp(v[0], -0.75, 0.5); }, {c.activation(shape)});
  c.add("maximum", [](const Vars& v) { return maximum(v[0], v[1]); },
        {c.activation(shape), c.activation(shape)});
  c.add("minimum", [](const Vars& v) { return minimum(v[0], v[1]); },
        {c.activation(shape), c.activation(shape)});
  struct Form {
    const char* name;
    Broadcast broadcast;
    Shape b;
  };
  for (const Form& form :
       {Form{"", Broadcast::none, shape}, Form{", per sample", Broadcast::per_sample, {2}},
        Form{", per channel", Broadcast::per_channel, {4}},
        Form{", per sample and channel", Broadcast::per_sample_channel, {2, 4}}}) {
    const Broadcast how = form.broadcast;
    const std::string suffix = form.name;
    c.add("add" + suffix, [how](const Vars& v) { return add(v[0], v[1], 0.5, -3, how); },
          {c.activation(shape), c.activation(form.b)});
    c.add("sub" + suffix, [how](const Vars& v) { return sub(v[0], v[1], how); },
          {c.activation(shape), c.activation(form.b)});
    c.add("mul" + suffix, [how](const Vars& v) { return mul(v[0], v[1], how); },
          {c.activation(shape), c.activation(form.b)});
    c.add("div" + suffix, [how](const Vars& v) { return div(v[0], v[1], how); },
          {c.activation(shape), c.positive(form.b)});
  }
  const Tensor per_sample = Tensor::from(std::vector<std::int64_t>{0, 1}, {2});
  c.add("where, per sample", [per_sample](const Vars& v) { return where(per_sample, v[0], v[1]); },
        {c.activation(shape), c.activation(shape)});
  const Tensor per_element = c.activation(shape).value;
  c.add("where, per element",
        [per_element](const Vars& v) { return where(per_element, v[0], v[1]); },
        {c.activation(shape), c.activation(shape)});
  for (const double p : {0.0, 0.4})
    c.add(fmt::format("dropout {}", p),
          [p](const Vars& v) {
            return dropout(v[0], p, {3, 5, 0, RandomStream::dropout}, 2);
          },
          {c.activation(shape)});
}

void add_views(Cases& c) {
  c.add("concat", [](const Vars& v) { return concat(v[0], v[1]); },
        {c.activation({2, 2, 3, 3}), c.activation({2, 2, 3, 2})});
  c.add("channels", [](const Vars& v) { return channels(v[0], 1, 4); },
        {c.activation({2, 2, 3, 5})});
  c.add("channels of one input twice",
        [](const Vars& v) { return mul(channels(v[0], 0, 3), channels(v[0], 2, 5)); },
        {c.activation({2, 2, 3, 5})});
  c.add("reshape",
        [](const Vars& v) {
          return square(reshape(v[0], {2, 6, 4}));
        },
        {c.activation({2, 2, 3, 4})});
  c.add("reshape of a channel slice",
        [](const Vars& v) {
          return square(reshape(channels(v[0], 1, 3), {4, 6}));
        },
        {c.activation({2, 2, 3, 5})});
  c.add("upsample2x", [](const Vars& v) { return upsample2x(v[0]); }, {c.activation({2, 2, 3, 2})});
  c.add("mean_pool2x2", [](const Vars& v) { return mean_pool2x2(v[0]); },
        {c.activation({2, 4, 6, 2})});
  for (const auto& [h, w] : {std::pair{7, 3}, std::pair{3, 8}, std::pair{4, 5}}) {
    c.add(fmt::format("resize_bilinear to {}x{}", h, w),
          [h = h, w = w](const Vars& v) { return resize_bilinear(v[0], h, w); },
          {c.activation({1, 4, 5, 2})});
    c.add(fmt::format("resize_area to {}x{}", h, w),
          [h = h, w = w](const Vars& v) { return resize_area(v[0], h, w); },
          {c.activation({1, 4, 5, 2})});
  }
}

void add_reductions(Cases& c) {
  for (const ReduceOver over : {ReduceOver::all, ReduceOver::features, ReduceOver::leading,
                                ReduceOver::spatial, ReduceOver::last}) {
    c.add(fmt::format("reduce_sum over {}", name(over)),
          [over](const Vars& v) { return reduce_sum(v[0], over); }, {c.activation({2, 3, 2, 4})});
    c.add(fmt::format("reduce_mean over {}", name(over)),
          [over](const Vars& v) { return reduce_mean(v[0], over); }, {c.activation({2, 3, 2, 4})});
  }
  c.add("softmax", [](const Vars& v) { return softmax(v[0]); }, {c.activation({3, 5})});
  c.add("log_softmax", [](const Vars& v) { return log_softmax(v[0]); }, {c.activation({3, 5})});
  const Tensor labels = Tensor::from(std::vector<std::int64_t>{4, 0, 2}, {3});
  c.add("cross_entropy", [labels](const Vars& v) { return cross_entropy(v[0], labels); },
        {c.activation({3, 5})});
  const Tensor index = Tensor::from(std::vector<std::int64_t>{1, 3, 1, 0}, {4});
  c.add("embedding", [index](const Vars& v) { return embedding(v[0], index); },
        {c.parameter({5, 3})});
  c.add("embedding with an addend", [index](const Vars& v) { return embedding(v[0], index, v[1]); },
        {c.parameter({5, 3}), c.activation({4, 3})});
}

// Operations in each other's company: fan-out, a loss on the predicted x_0, a checkpointed block.
void add_chains(Cases& c) {
  c.add("an input used three times",
        [](const Vars& v) { return add(mul(v[0], silu(v[0])), exp(v[0])); },
        {c.activation({2, 3})});
  c.add("cast to its own dtype", [](const Vars& v) { return cast(v[0], v[0].dtype()); },
        {c.activation({2, 3})});
  c.add("loss on the predicted x_0",
        [](const Vars& v) {
          const Var eps = channels(conv2d(v[0], v[1], v[2], {.geometry = {1, 1}}).x, 0, 3);
          const Var x_start = clamp(add(v[0], eps, 1.2, -0.7), -2.5, 2.5);
          return reduce_mean(square(sub(x_start, v[3])), ReduceOver::features);
        },
        {c.activation({2, 4, 4, 3}), c.parameter({6, 3, 3, 3}), c.parameter({6}),
         c.activation({2, 4, 4, 3})});
  c.add("checkpoint with dropout",
        [](const Vars& v) {
          const Var w = v[1];  // a leaf, used without being an input of the block
          const auto block = [w](const Vars& in) {
            const Var h = dropout(conv2d(silu(in[0]), w, {}, {.geometry = {1, 1}}).x, 0.3,
                                  {5, 0, 0, RandomStream::dropout}, 1);
            return add(h, in[0]);
          };
          return mul(checkpoint(block, {silu(v[0])}), v[0]);
        },
        {c.activation({1, 4, 4, 3}), c.parameter({3, 3, 3, 3})});
}

}  // namespace

std::vector<GradcheckCase> gradcheck_cases() {
  Cases cases;
  add_conv2d(cases);
  add_linear(cases);
  add_group_norm(cases);
  add_attention(cases);
  add_elementwise(cases);
  add_views(cases);
  add_reductions(cases);
  add_chains(cases);
  return std::move(cases.list);
}

}  // namespace tiller
