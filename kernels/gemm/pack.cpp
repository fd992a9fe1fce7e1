#include "kernels/gemm/pack.h"

#include <algorithm>

#include "kernels/weights.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

// One panel: to[group][l][column] from w[k][tap][c].
void pack_panel(const PackForm& form, const float* w, std::int64_t panel, float* to) {
  const std::int64_t first = panel * form.columns, row = form.taps * form.c;
  const std::int64_t used = std::min(form.columns, form.outputs() - first);
  constexpr std::int64_t kBlock = 64;  // of the reduction: the written block stays in the cache
  std::fill(to, to + form.panel_stride(), 0.0f);
  for (const std::vector<std::int64_t>& group : form.groups) {
    for (const std::int64_t tap : group) {
      if (form.transposed) {
        for (std::int64_t k = 0; k < form.outputs_k; ++k) {
          const float* from = w + k * row + tap * form.c + first;
          for (std::int64_t j = 0; j < used; ++j) to[k * form.columns + j] += from[j];
        }
        continue;
      }
      for (std::int64_t begin = 0; begin < form.c; begin += kBlock)
        for (std::int64_t j = 0; j < used; ++j) {
          const float* from = w + (first + j) * row + tap * form.c;
          const std::int64_t end = std::min(begin + kBlock, form.c);
          for (std::int64_t c = begin; c < end; ++c) to[c * form.columns + j] += from[c];
        }
    }
    to += form.reduced() * form.columns;
  }
}

Tensor pack(const Tensor& w, const PackForm& form) {
  std::vector<float> rounded;
  const float* values = static_cast<const float*>(w.raw());
  if (w.dtype() != DType::f32 || form.dtype != DType::f32) {
    rounded = form.dtype == DType::f16 ? rounded_weight<f16>(w) : rounded_weight<bf16>(w);
    values = rounded.data();
  }
  Tensor out = Tensor::empty({form.panels() * form.panel_stride()});
  float* to = out.data<float>();
  launch("pack_weight", form.panels(), [&](std::int64_t panel) {
    pack_panel(form, values, panel, to + panel * form.panel_stride());
  });
  return out;
}

}  // namespace

Tensor packed(const Tensor& w, const PackForm& form) {
  std::string key = fmt::format("packed/{}{}/{}/", form.transposed ? "transposed " : "",
                                form.columns, name(form.dtype));
  for (const std::vector<std::int64_t>& group : form.groups) {
    for (const std::int64_t tap : group) key += fmt::format("{}+", tap);
    key.back() = ',';
  }
  return derived(w, key.c_str(), [&] {
    const Tensor form_of_w = pack(w, form);
    w.storage()->release();  // of a frozen weight: the packed form replaces it
    return form_of_w;
  });
}

void padded_bias(const Tensor& bias, const Tensor& second, DType dtype, std::int64_t padded,
                 float* to) {
  std::fill(to, to + padded, 0.0f);
  for (const Tensor* b : {&bias, &second}) {
    if (!*b) continue;
    const auto* from = static_cast<const float*>(b->raw());
    for (std::int64_t k = 0; k < b->numel(); ++k)
      to[k] += dtype == DType::f16    ? static_cast<float>(f16(from[k]))
               : dtype == DType::bf16 ? static_cast<float>(bf16(from[k]))
                                      : from[k];
  }
}

}  // namespace tiller
