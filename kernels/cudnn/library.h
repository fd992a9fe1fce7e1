#pragma once
// cuDNN, loaded when it is first asked for: the program neither links with it nor needs it. Only
// its backend API is used (NVIDIA's "cuDNN Backend API" reference): descriptors with attributes,
// out of which an operation graph, and from that an execution plan is made.
#include <cudnn.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tiller::cudnn {

/// What is used of the library.
struct Api {
  decltype(&cudnnGetVersion) get_version;
  decltype(&cudnnGetErrorString) get_error_string;
  decltype(&cudnnCreate) create;
  decltype(&cudnnSetStream) set_stream;
  decltype(&cudnnBackendCreateDescriptor) create_descriptor;
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor;
  decltype(&cudnnBackendSetAttribute) set_attribute;
  decltype(&cudnnBackendGetAttribute) get_attribute;
  decltype(&cudnnBackendFinalize) finalize;
  decltype(&cudnnBackendExecute) execute;
};

/// The loaded library. Throws Error, every time, where it is not found, lacks a function, or is of
/// another major version than the headers that this program was built with.
const Api& api();

/// Throws Error naming the call and cuDNN's reason, CUDNN_STATUS_NOT_INITIALIZED for instance.
void check(cudnnStatus_t status, const char* what);

/// The calling thread's handle on the current GPU. Throws Error: NOT_INITIALIZED where there is
/// none.
cudnnHandle_t handle();

/// A backend descriptor. set() throws Error for an attribute that cuDNN refuses.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;

  void set(cudnnBackendAttributeName_t name, std::int64_t value);
  void set(cudnnBackendAttributeName_t name, const std::vector<std::int64_t>& values);
  void set(cudnnBackendAttributeName_t name, float value);
  void set(cudnnBackendAttributeName_t name, bool value);
  void set(cudnnBackendAttributeName_t name, cudnnDataType_t value);
  void set(cudnnBackendAttributeName_t name, cudnnConvolutionMode_t value);
  void set(cudnnBackendAttributeName_t name, cudnnBackendHeurMode_t value);
  void set(cudnnBackendAttributeName_t name, cudnnHandle_t value);
  void set(cudnnBackendAttributeName_t name, const Descriptor& value);
  void set(cudnnBackendAttributeName_t name, const std::vector<void*>& values);
  /// False where cuDNN has no engine for what the descriptor says.
  bool try_finalize();
  void finalize();
  cudnnBackendDescriptor_t get() const { return descriptor_; }

 private:
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
           const void* values);
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

}  // namespace tiller::cudnn
