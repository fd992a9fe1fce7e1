#pragma once
// What the oneDNN peer rows share; included by *_onednn.cpp alone. A comparison is fair when the
// peer does what its best user would do: primitives are compiled once, weights are reordered once
// to the layout that the primitive asks for (a derived form, like our own packed weights), and an
// implementation named "ref" (plain loops, hundreds of times slower) is refused rather than
// measured. oneDNN 2 and 3 differ in how a primitive is described: with<Desc>() hides that.
#include <dnnl.hpp>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "runtime/parallel.h"
#include "runtime/tensor.h"

namespace tiller::onednn {

using Desc = dnnl::memory::desc;
using Dims = dnnl::memory::dims;
using Tag = dnnl::memory::format_tag;

inline dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}
inline dnnl::stream& stream() {
  static dnnl::stream in_order(engine());
  return in_order;
}

/// oneDNN takes OpenMP's number of threads; while this lives it is ours.
class Threads {
 public:
#if defined(_OPENMP)
  Threads() : before_(omp_get_max_threads()) { omp_set_num_threads(threads()); }
  ~Threads() { omp_set_num_threads(before_); }
#else
  Threads() = default;
#endif
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_ = 1;
};

inline Desc desc(const Dims& dims, Tag tag) { return {dims, dnnl::memory::data_type::f32, tag}; }
inline dnnl::memory memory(const Desc& desc, const Tensor& t) { return {desc, engine(), t.raw()}; }

/// The description of Primitive from the arguments that both interfaces share.
template <class Primitive, class... Described>
typename Primitive::primitive_desc describe(const dnnl::primitive_attr& attr,
                                            const Described&... described) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), described..., attr};
#else
  return {typename Primitive::desc(described...), attr, engine()};
#endif
}

/// As describe(), with the forward description that a backward primitive wants as a hint.
template <class Primitive, class Forward, class... Described>
typename Primitive::primitive_desc describe_backward(const Forward& forward,
                                                     const Described&... described) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), described..., forward};
#else
  return {typename Primitive::desc(described...), engine(), forward};
#endif
}

/// A compiled primitive, and the layout in which it takes (or gives) the weight.
struct Compiled {
  dnnl::primitive primitive;
  Desc weights;
};

/// Moves on from plain loops to the next implementation; false when there is none.
template <class PrimitiveDesc>
bool skip_reference(PrimitiveDesc& described) {
  while (std::string(described.impl_info_str()).find("ref") != std::string::npos)
    if (!described.next_impl()) return false;
  return true;
}

/// What `make` compiles for `key` (and the number of threads), kept for the life of the process;
/// null when oneDNN cannot do it or only by plain loops, in which case `make` returns nothing or
/// throws.
template <class Make>
const Compiled* compiled(const std::string& key, const Make& make) {
  static std::mutex mutex;
  static std::map<std::string, std::optional<Compiled>> cache;
  const std::lock_guard lock(mutex);
  const auto [at, fresh] = cache.try_emplace(fmt::format("{}, {} threads", key, threads()));
  if (fresh) {
    const Threads guard;
    try {
      at->second = make();
    } catch (const dnnl::error&) {  // unimplemented: there is no such row
    }
  }
  return at->second ? &*at->second : nullptr;
}

inline void reorder(const Desc& from_desc, const Tensor& from, const Desc& to_desc,
                    const Tensor& to) {
  dnnl::memory source = memory(from_desc, from), target = memory(to_desc, to);
  dnnl::reorder(source, target).execute(stream(), source, target);
  stream().wait();
}

/// The weight in the layout `wanted`, kept with it until its version moves. `given` makes the plain
/// tensor that `plain` describes; `form` names the problem, on which the layout depends.
template <class Given>
Tensor packed(const Tensor& w, const std::string& form, const Desc& plain, const Desc& wanted,
              const Given& given) {
  return derived(w, fmt::format("onednn/{}, {} threads", form, threads()).c_str(), [&] {
    const Threads guard;
    Tensor to = Tensor::empty({static_cast<std::int64_t>(wanted.get_size() / sizeof(float))});
    reorder(plain, given(), wanted, to);
    return to;
  });
}

inline void execute(const Compiled& compiled,
                    const std::unordered_map<int, dnnl::memory>& arguments) {
  const Threads guard;
  compiled.primitive.execute(stream(), arguments);
  stream().wait();
}

/// Whether oneDNN may see the tensor as it is: dense f32 on the CPU.
inline bool plain(const Tensor& t) { return t.dtype() == DType::f32 && t.dense(); }

}  // namespace tiller::onednn
