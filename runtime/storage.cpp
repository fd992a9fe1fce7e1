#include "runtime/storage.h"

#include "runtime/tensor.h"

namespace tiller {

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

Storage::~Storage() {
  if (!owner_) backend(device_).deallocate(data_, bytes_, stream_);
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
