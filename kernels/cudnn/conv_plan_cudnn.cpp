#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "kernels/cudnn/conv_plan.h"
#include "runtime/error.h"

namespace tiller::cudnn {

namespace {

enum Id : std::int64_t { kX = 'x', kW = 'w', kY = 'y' };

cudnnDataType_t type_of(DType dtype) {
  return dtype == DType::f16    ? CUDNN_DATA_HALF
         : dtype == DType::bf16 ? CUDNN_DATA_BFLOAT16
                                : CUDNN_DATA_FLOAT;
}

// Channels last, which cuDNN calls the dims [N,C,H,W] with strides that say so.
Descriptor tensor(Id id, const Shape& s, DType dtype) {
  Descriptor t(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  t.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type_of(dtype));
  t.set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::vector<std::int64_t>{s[0], s[3], s[1], s[2]});
  t.set(CUDNN_ATTR_TENSOR_STRIDES,
        std::vector<std::int64_t>{s[1] * s[2] * s[3], 1, s[2] * s[3], s[3]});
  t.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, static_cast<std::int64_t>(id));
  t.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{16});
  t.finalize();
  return t;
}

Descriptor convolution(const ConvProblem& p) {
  Descriptor c(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const std::int64_t pad = p.pad, stride = p.stride;
  std::vector<std::int64_t> behind;  // what makes the last output's last tap fall on an element
  for (const int i : {1, 2}) behind.push_back((p.y[i] - 1) * stride + p.w[i] - p.x[i] - pad);
  c.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  c.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
  c.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2});
  c.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, std::vector<std::int64_t>{pad, pad});
  c.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, behind);
  c.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, std::vector<std::int64_t>{stride, stride});
  c.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, std::vector<std::int64_t>{1, 1});
  c.finalize();
  return c;
}

// The attributes' names of the three operations.
struct Names {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t conv, x, w, y, alpha, beta;
};
Names names(ConvKind kind) {
  switch (kind) {
    case ConvKind::forward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case ConvKind::dgrad:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case ConvKind::wgrad:
      break;
  }
  return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

Descriptor graph_of(const ConvProblem& p) {
  const Names n = names(p.kind);
  Descriptor operation(n.operation);
  operation.set(n.x, tensor(kX, p.x, p.dtype));
  operation.set(n.w, tensor(kW, p.w, p.kind == ConvKind::wgrad ? DType::f32 : p.dtype));
  operation.set(n.y, tensor(kY, p.y, p.dtype));
  operation.set(n.conv, convolution(p));
  operation.set(n.alpha, 1.0f);
  operation.set(n.beta, 0.0f);
  operation.finalize();
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle());
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
  graph.finalize();
  return graph;
}

// Whether an engine uses tensor cores, which on f32 tensors means TF32 or less.
bool lowers_precision(const Descriptor& config) {
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t slot = engine.get();
  std::int64_t count = 0;
  check(api().get_attribute(config.get(), CUDNN_ATTR_ENGINECFG_ENGINE,
                            CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &slot),
        "an engine");
  std::vector<cudnnBackendNumericalNote_t> notes(CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  check(
      api().get_attribute(engine.get(), CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                          static_cast<std::int64_t>(notes.size()), &count, notes.data()),
      "an engine's notes");
  notes.resize(static_cast<std::size_t>(count));
  return std::any_of(notes.begin(), notes.end(), [](cudnnBackendNumericalNote_t note) {
    return note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE ||
           note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS;
  });
}

// What the heuristics propose, best first.
std::vector<Descriptor> proposals(const Descriptor& graph) {
  constexpr std::int64_t kMost = 16;
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A);
  heuristics.finalize();
  std::vector<Descriptor> configs;
  std::vector<cudnnBackendDescriptor_t> slots;
  for (std::int64_t i = 0; i < kMost; ++i)
    slots.push_back(configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  std::int64_t count = 0;
  check(api().get_attribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                            CUDNN_TYPE_BACKEND_DESCRIPTOR, kMost, &count, slots.data()),
        "the heuristics' results");
  configs.erase(configs.begin() + std::min(count, kMost), configs.end());
  return configs;
}

std::string key_of(const ConvProblem& p) {
  return fmt::format("{} {} {} {} {} {} {} {}", static_cast<int>(p.kind), to_string(p.x),
                     to_string(p.w), to_string(p.y), name(p.dtype), p.stride, p.pad, p.exact);
}

}  // namespace

ConvPlan::ConvPlan(Descriptor plan, std::size_t workspace)
    : plan_(std::move(plan)), workspace_(workspace) {}

const ConvPlan* conv_plan(const ConvProblem& problem) {
  static std::mutex mutex;
  static auto* const plans = new std::map<std::string, std::unique_ptr<ConvPlan>>;
  const std::lock_guard lock(mutex);
  const auto [slot, fresh] = plans->try_emplace(key_of(problem));
  if (!fresh) return slot->second.get();
  try {
    const Descriptor graph = graph_of(problem);
    for (const Descriptor& config : proposals(graph)) {
      if (problem.exact && lowers_precision(config)) continue;
      Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, handle());
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
      if (!plan.try_finalize()) continue;
      std::int64_t bytes = 0, count = 0;
      check(api().get_attribute(plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                CUDNN_TYPE_INT64, 1, &count, &bytes),
            "a plan's workspace");
      slot->second.reset(new ConvPlan(std::move(plan), static_cast<std::size_t>(bytes)));
      break;
    }
  } catch (const Error&) {  // no library, no GPU, no such engine: the row does not support the call
  }
  return slot->second.get();
}

void ConvPlan::run(void* x, void* w, void* y, void* workspace, Stream stream) const {
  check(api().set_stream(handle(), static_cast<cudaStream_t>(stream.handle)), "cudnnSetStream");
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, std::vector<std::int64_t>{kX, kW, kY});
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, std::vector<void*>{x, w, y});
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, std::vector<void*>{workspace});
  pack.finalize();
  check(api().execute(handle(), plan_.get(), pack.get()), "cudnnBackendExecute");
}

}  // namespace tiller::cudnn
