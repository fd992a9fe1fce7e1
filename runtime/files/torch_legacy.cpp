#include <string_view>
#include <unordered_map>

#include "runtime/files/torch_file.h"

namespace tiller {

namespace {

constexpr std::size_t kMagicBytes = 15;  // the pickle of 0x1950a86a20f9469cfc6c
constexpr std::int64_t kProtocol = 1001;

struct Run {
  ByteSpan bytes;
  std::uint64_t count = 0;
};

}  // namespace

TorchFile read_torch_legacy(std::shared_ptr<const MappedFile> mapped) {
  using Kind = PickleValue::Kind;
  TorchFile file;
  file.file = std::move(mapped);
  file.format = FileFormat::pt_legacy;
  const std::string& path = file.file->path();
  ByteReader reader(file.file->bytes(), path);
  reader.take(kMagicBytes);

  const PickleValue protocol = Pickle::read(reader, path).root();
  TILLER_CHECK_FILE(protocol.is(Kind::integer) && protocol.payload == kProtocol,
                    "{}: its torch.save() protocol is not {}", path, kProtocol);
  const Pickle system = Pickle::read(reader, path);
  const auto little = system.find(system.root(), "little_endian");
  TILLER_CHECK_FILE(!little || !little->is(Kind::boolean) || little->payload != 0,
                    "{} was written on a big-endian machine; load it in PyTorch and save it again",
                    path);
  file.pickle = Pickle::read(reader, path);
  const Pickle keys = Pickle::read(reader, path);
  TILLER_CHECK_FILE(keys.root().is(Kind::list), "{} is damaged: its list of storages is missing",
                    path);

  // The storages' bytes follow in the order of the list, each behind its count of elements. Their
  // element sizes stand only in the object, which was read before.
  std::unordered_map<std::string_view, std::size_t> element_bytes;
  for (const PickleStorage& storage : file.pickle.storages()) {
    TILLER_CHECK_FILE(storage.dtype, "{}: storages of type {} are not read", path, storage.type);
    const auto [found, fresh] = element_bytes.emplace(storage.key, size_of(*storage.dtype));
    TILLER_CHECK_FILE(fresh || found->second == size_of(*storage.dtype),
                      "{} is damaged: storage {} has two element sizes", path, storage.key);
  }
  std::unordered_map<std::string_view, Run> runs;
  for (const PickleValue key : keys.items(keys.root())) {
    TILLER_CHECK_FILE(key.is(Kind::text), "{} is damaged: a storage's key is no text", path);
    const auto size = element_bytes.find(keys.text(key));
    TILLER_CHECK_FILE(size != element_bytes.end(), "{} is damaged: no tensor uses storage {}", path,
                      keys.text(key));
    Run run;
    run.count = reader.u64();
    TILLER_CHECK_FILE(
        run.count <= reader.remaining() / size->second,
        "{}: storage {} should hold {} elements of {} bytes, but only {} bytes follow: a "
        "truncated download? Fetch the file again",
        path, keys.text(key), run.count, size->second, reader.remaining());
    run.bytes = reader.take(run.count * size->second);
    runs[keys.text(key)] = run;
  }
  for (const PickleStorage& storage : file.pickle.storages()) {
    const auto run = runs.find(storage.key);
    TILLER_CHECK_FILE(run != runs.end(), "{} is damaged: storage {} is missing", path, storage.key);
    TILLER_CHECK_FILE(static_cast<std::uint64_t>(storage.numel) <= run->second.count,
                      "{} is damaged: storage {} should hold {} elements but has {}", path,
                      storage.key, storage.numel, run->second.count);
    FileBytes bytes;
    bytes.bytes = run->second.bytes;
    bytes.what = fmt::format("storage {}", storage.key);
    file.storages.push_back(std::move(bytes));
  }
  return file;
}

}  // namespace tiller
