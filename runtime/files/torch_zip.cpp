#include <string_view>
#include <unordered_map>

#include "runtime/files/torch_file.h"
#include "runtime/files/zip_directory.h"

namespace tiller {

namespace {

constexpr std::uint64_t kPickleLimit = std::uint64_t{64} << 20;

using Members = std::unordered_map<std::string_view, const ZipMember*>;

// torch.save() puts every record below one folder, named after the file or "archive".
std::string find_prefix(const std::vector<ZipMember>& members, const std::string& path) {
  TILLER_CHECK_FILE(!members.empty(), "{} is an empty zip archive", path);
  const std::string& first = members.front().name;
  const std::size_t slash = first.find('/');
  return slash == std::string::npos ? "" : first.substr(0, slash + 1);
}

void refuse_others(const Members& members, const std::string& prefix, const std::string& path) {
  const bool script = members.contains(prefix + "constants.pkl") ||
                      std::any_of(members.begin(), members.end(), [&](const auto& member) {
                        return member.first.starts_with(prefix + "code/");
                      });
  TILLER_CHECK_FILE(
      !script,
      "{} is a TorchScript archive: it holds a program, not only weights. In PyTorch: "
      "torch.save(torch.jit.load(\"{}\").state_dict(), \"weights.pt\")",
      path, path);
  if (members.contains(prefix + "data.pkl")) return;
  const bool numpy = std::any_of(members.begin(), members.end(),
                                 [](const auto& member) { return member.first.ends_with(".npy"); });
  TILLER_CHECK_FILE(!numpy, "{} is an .npz of numpy arrays, not a checkpoint", path);
  fail(ErrorKind::checkpoint,
       fmt::format("{} is a zip archive, but not one of torch.save(): it has no "
                   "data.pkl. If the checkpoint is inside, unpack it first",
                   path));
}

bool is_big_endian(const Members& members, const std::string& prefix, const std::string& path) {
  const auto found = members.find(prefix + "byteorder");  // absent before PyTorch 2.1: little
  if (found == members.end()) return false;
  const std::vector<std::uint8_t> text = read_zip_member(*found->second, 16, path);
  const std::string_view order(reinterpret_cast<const char*>(text.data()), text.size());
  TILLER_CHECK_FILE(order == "little" || order == "big", "{}: its byte order is \"{}\"", path,
                    order);
  return order == "big";
}

}  // namespace

TorchFile read_torch_zip(std::shared_ptr<const MappedFile> mapped) {
  TorchFile file;
  file.file = std::move(mapped);
  file.format = FileFormat::pt_zip;
  const std::string& path = file.file->path();
  const std::vector<ZipMember> list = read_zip_directory(file.file->bytes(), path);
  const std::string prefix = find_prefix(list, path);
  Members members;
  for (const ZipMember& member : list) members.emplace(member.name, &member);
  refuse_others(members, prefix, path);
  file.swapped = is_big_endian(members, prefix, path);

  file.pickle_bytes = read_zip_member(*members.at(prefix + "data.pkl"), kPickleLimit, path);
  ByteReader reader(file.pickle_bytes, path + ": data.pkl");
  file.pickle = Pickle::read(reader, path);

  for (const PickleStorage& storage : file.pickle.storages()) {
    FileBytes bytes;
    bytes.what = fmt::format("data/{}", storage.key);
    const auto found = members.find(prefix + bytes.what);
    TILLER_CHECK_FILE(found != members.end(), "{}: storage {} is missing from the archive", path,
                      bytes.what);
    const ZipMember& member = *found->second;
    TILLER_CHECK_FILE(!member.deflated,
                      "{}: storage {} was compressed by another program than PyTorch. "
                      "Unpack the archive and pack it again with: zip -0 -r",
                      path, bytes.what);
    bytes.bytes = member.data;
    bytes.crc = member.crc;
    if (storage.dtype) {
      const std::uint64_t room = member.size / size_of(*storage.dtype);
      TILLER_CHECK_FILE(static_cast<std::uint64_t>(storage.numel) <= room,
                        "{}: storage {} should hold {} {} but has {} bytes", path, bytes.what,
                        storage.numel, name(*storage.dtype), member.size);
    }
    file.storages.push_back(std::move(bytes));
  }
  return file;
}

}  // namespace tiller
