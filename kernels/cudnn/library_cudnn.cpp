#include <dlfcn.h>

#include <map>
#include <utility>

#include <cuda_runtime.h>

#include "kernels/cudnn/library.h"
#include "runtime/error.h"

namespace tiller::cudnn {

namespace {

// By the loader's rules, then where the toolkit puts it.
constexpr const char* kNames[] = {"libcudnn.so.9", "/usr/local/cuda/lib64/libcudnn.so.9",
                                  "/usr/local/cuda/lib/libcudnn.so.9"};

void* open_library() {
  for (const char* name : kNames)
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  fail(ErrorKind::failed,
       "cuDNN 9 was not found (libcudnn.so.9): its rows are only there to compare with; install "
       "libcudnn9 or set LD_LIBRARY_PATH");
}

template <class F>
void resolve(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  TILLER_CHECK(function, "cuDNN lacks {}; install version 9", name);
}

Api load() {
  void* const library = open_library();  // stays open
  Api a{};
  resolve(library, "cudnnGetVersion", a.get_version);
  resolve(library, "cudnnGetErrorString", a.get_error_string);
  resolve(library, "cudnnCreate", a.create);
  resolve(library, "cudnnSetStream", a.set_stream);
  resolve(library, "cudnnBackendCreateDescriptor", a.create_descriptor);
  resolve(library, "cudnnBackendDestroyDescriptor", a.destroy_descriptor);
  resolve(library, "cudnnBackendSetAttribute", a.set_attribute);
  resolve(library, "cudnnBackendGetAttribute", a.get_attribute);
  resolve(library, "cudnnBackendFinalize", a.finalize);
  resolve(library, "cudnnBackendExecute", a.execute);
  const std::size_t major = a.get_version() / 10000;
  TILLER_CHECK(major == CUDNN_MAJOR, "cuDNN {} was found; this program was built for {}", major,
               CUDNN_MAJOR);
  return a;
}

}  // namespace

const Api& api() {
  static const Api loaded = load();
  return loaded;
}

void check(cudnnStatus_t status, const char* what) {
  TILLER_CHECK(status == CUDNN_STATUS_SUCCESS, "cuDNN: {}: {}", what,
               api().get_error_string(status));
}

cudnnHandle_t handle() {
  static thread_local std::map<int, cudnnHandle_t> handles;  // by GPU; they end with the program
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) cudaGetLastError();  // cudnnCreate says it better
  cudnnHandle_t& slot = handles[device];
  if (!slot) {
    cudnnHandle_t made = nullptr;
    check(api().create(&made), "cudnnCreate");
    slot = made;
  }
  return slot;
}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  check(api().create_descriptor(type, &descriptor_), "cudnnBackendCreateDescriptor");
}
Descriptor::~Descriptor() {
  if (descriptor_) api().destroy_descriptor(descriptor_);
}
Descriptor::Descriptor(Descriptor&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, nullptr)) {}
Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                     std::int64_t count, const void* values) {
  check(api().set_attribute(descriptor_, name, type, count, values), "cudnnBackendSetAttribute");
}
void Descriptor::set(cudnnBackendAttributeName_t name, std::int64_t value) {
  set(name, CUDNN_TYPE_INT64, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, const std::vector<std::int64_t>& values) {
  set(name, CUDNN_TYPE_INT64, static_cast<std::int64_t>(values.size()), values.data());
}
void Descriptor::set(cudnnBackendAttributeName_t name, float value) {
  set(name, CUDNN_TYPE_FLOAT, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, bool value) {
  set(name, CUDNN_TYPE_BOOLEAN, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, cudnnDataType_t value) {
  set(name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, cudnnConvolutionMode_t value) {
  set(name, CUDNN_TYPE_CONVOLUTION_MODE, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendHeurMode_t value) {
  set(name, CUDNN_TYPE_HEUR_MODE, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, cudnnHandle_t value) {
  set(name, CUDNN_TYPE_HANDLE, 1, &value);
}
void Descriptor::set(cudnnBackendAttributeName_t name, const Descriptor& value) {
  set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.descriptor_);
}
void Descriptor::set(cudnnBackendAttributeName_t name, const std::vector<void*>& values) {
  set(name, CUDNN_TYPE_VOID_PTR, static_cast<std::int64_t>(values.size()), values.data());
}

bool Descriptor::try_finalize() { return api().finalize(descriptor_) == CUDNN_STATUS_SUCCESS; }
void Descriptor::finalize() { check(api().finalize(descriptor_), "cudnnBackendFinalize"); }

}  // namespace tiller::cudnn
