#include "runtime/storage.h"

#include "runtime/half.h"
#include "runtime/parallel.h"
#include "runtime/tensor.h"

namespace tiller {

namespace {

// Rows of a small block of the inner dimension at a time: what is read stays in the cache until all
// of it was written.
template <class T>
void exchange(const FrozenSource& source, float* to) {
  constexpr std::int64_t kBlock = 16;
  const std::int64_t each = source.middle * source.inner;
  launch("thaw", source.outer, [&](std::int64_t i) {
    const T* x = static_cast<const T*>(source.values) + i * each;
    float* y = to + i * each;
    for (std::int64_t first = 0; first < source.middle; first += kBlock)
      for (std::int64_t l = 0; l < source.inner; ++l)
        for (std::int64_t j = first; j < std::min(first + kBlock, source.middle); ++j)
          y[l * source.middle + j] = static_cast<float>(x[j * source.inner + l]);
  });
}

}  // namespace

struct Storage::Derived {
  Tensor tensor;
  std::uint64_t version = 0;
};

std::shared_ptr<Storage> Storage::allocate(std::size_t bytes, Device device) {
  std::shared_ptr<Storage> storage(new Storage);
  storage->device_ = device;
  storage->stream_ = current_stream(device);
  storage->data_ = backend(device).allocate(bytes, storage->stream_);
  storage->bytes_ = bytes;
  return storage;
}

std::shared_ptr<Storage> Storage::borrow(const void* data, std::size_t bytes, Device device,
                                         std::shared_ptr<const void> owner) {
  std::shared_ptr<Storage> storage(new Storage);
  storage->device_ = device;
  storage->data_ = const_cast<void*>(data);
  storage->bytes_ = bytes;
  storage->owner_ = std::move(owner);
  return storage;
}

std::shared_ptr<Storage> Storage::freeze(FrozenSource source, Device device) {
  TILLER_CHECK(device.type == DeviceType::cpu || device.type == DeviceType::meta,
               "frozen values are read on the CPU, not on {}", to_string(device));
  TILLER_CHECK(
      source.dtype == DType::f32 || source.dtype == DType::f16 || source.dtype == DType::bf16,
      "frozen values are f32, f16 or bf16, not {}", name(source.dtype));
  TILLER_CHECK(source.values || device.type == DeviceType::meta || source.numel() == 0,
               "{} frozen values, but no place where they are", source.numel());
  std::shared_ptr<Storage> storage(new Storage);
  storage->device_ = device;
  storage->stream_ = current_stream(device);
  storage->bytes_ = static_cast<std::size_t>(source.numel()) * sizeof(float);
  storage->source_ = std::make_unique<const FrozenSource>(std::move(source));
  return storage;
}

void* Storage::thaw() const {
  if (device_.type == DeviceType::meta) return nullptr;
  const std::lock_guard lock(mutex_);
  if (void* const there = data_.load(std::memory_order_relaxed)) return there;
  auto* const made = static_cast<float*>(backend(device_).allocate(bytes_, stream_));
  if (source_->dtype == DType::f32)
    exchange<float>(*source_, made);
  else if (source_->dtype == DType::f16)
    exchange<f16>(*source_, made);
  else
    exchange<bf16>(*source_, made);
  data_.store(made, std::memory_order_release);
  return made;
}

void Storage::release() {
  if (!source_) return;
  const std::lock_guard lock(mutex_);
  if (void* const data = data_.exchange(nullptr))
    backend(device_).deallocate(data, bytes_, stream_);
}

void Storage::bump_version() {
  if (source_ && data()) source_.reset();
  version_.fetch_add(1, std::memory_order_relaxed);
}

Storage::~Storage() {
  if (!owner_ && !(source_ && !data_.load()))
    backend(device_).deallocate(data_.load(), bytes_, stream_);
}

Tensor Storage::derived(const std::string& key, const std::function<Tensor()>& make) {
  const std::uint64_t now = version();
  {
    const std::lock_guard lock(mutex_);
    const auto found = derived_.find(key);
    if (found != derived_.end() && found->second->version == now) return found->second->tensor;
  }
  // Made outside the lock: a form may be derived from another form of the same storage.
  Tensor made = make();
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Derived>& slot = derived_[key];
  slot = std::make_unique<Derived>(Derived{made, now});
  return made;
}

std::size_t Storage::derived_bytes() const {
  const std::lock_guard lock(mutex_);
  std::size_t bytes = 0;
  for (const auto& [key, form] : derived_) bytes += form->tensor.bytes();
  return bytes;
}

void Storage::drop_derived() {
  const std::lock_guard lock(mutex_);
  derived_.clear();
}

}  // namespace tiller
