#include "runtime/files/safetensors.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "runtime/files/byte_reader.h"

namespace tiller {

namespace {

constexpr std::uint64_t kHeaderLimit = 100'000'000;  // the reference validator's
constexpr std::size_t kRankLimit = 64;

struct TypeName {
  std::string_view text;
  DType dtype;
};
constexpr std::array<TypeName, 10> kTypes{{{"F32", DType::f32},
                                           {"F16", DType::f16},
                                           {"BF16", DType::bf16},
                                           {"F64", DType::f64},
                                           {"I64", DType::i64},
                                           {"I32", DType::i32},
                                           {"I16", DType::i16},
                                           {"I8", DType::i8},
                                           {"U8", DType::u8},
                                           {"BOOL", DType::boolean}}};

struct Entry {
  std::string name, dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::uint64_t> offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

// Receives the header's events instead of building a document: the grammar is three levels deep,
// and a key that appears twice (which a document would hide) is an error.
class HeaderEvents : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;
  std::string problem;

  bool start_object(std::size_t) override {
    if (depth_ == 0 || (depth_ == 1 && !key_.empty())) {
      if (depth_ == 1 && key_ != "__metadata__") {
        entries.emplace_back();
        entries.back().name = key_;
      }
      in_metadata_ = depth_ == 1 && key_ == "__metadata__";
      ++depth_;
      return true;
    }
    return refuse("it is nested too deep");
  }
  bool end_object() override {
    --depth_;
    if (depth_ == 1 && !in_metadata_) {
      const Entry& entry = entries.back();
      if (!entry.has_dtype || !entry.has_shape || !entry.has_offsets)
        return refuse(fmt::format("{} lacks its dtype, shape or data_offsets", entry.name));
    }
    in_metadata_ = false;
    return true;
  }
  bool key(string_t& text) override {
    if (depth_ == 1 && !names_.insert(text).second)
      return refuse(fmt::format("the name {} appears twice", text));
    if (depth_ == 1 && text.empty()) return refuse("a tensor has no name");
    if (depth_ == 2 && in_metadata_ && metadata.contains(text))
      return refuse(fmt::format("the metadata's {} appears twice", text));
    (depth_ == 1 ? key_ : field_) = text;
    return true;
  }
  bool string(string_t& text) override {
    if (depth_ == 2 && in_metadata_) return metadata.emplace(field_, text).second;
    if (depth_ == 2 && !in_array_ && field_ == "dtype" && !entries.back().has_dtype) {
      entries.back().dtype = text;
      return entries.back().has_dtype = true;
    }
    return refuse("a text stands where none belongs");
  }
  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_metadata_ || in_array_) return refuse("a list stands where none belongs");
    Entry& entry = entries.back();
    bool& seen = field_ == "shape" ? entry.has_shape : entry.has_offsets;
    if ((field_ != "shape" && field_ != "data_offsets") || seen)
      return refuse(fmt::format("{} has an unknown or repeated field {}", entry.name, field_));
    seen = in_array_ = true;
    return true;
  }
  bool end_array() override {
    in_array_ = false;
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (!in_array_) return refuse("a number stands where none belongs");
    Entry& entry = entries.back();
    if (field_ == "shape") {
      if (value > std::uint64_t{1} << 62 || entry.shape.size() == kRankLimit)
        return refuse(fmt::format("the shape of {} is out of range", entry.name));
      entry.shape.push_back(static_cast<std::int64_t>(value));
    } else {
      if (entry.offsets.size() == 2) return refuse(fmt::format("{} has three offsets", entry.name));
      entry.offsets.push_back(value);
    }
    return true;
  }
  bool null() override { return refuse("null stands where none belongs"); }
  bool boolean(bool) override { return refuse("a boolean stands where none belongs"); }
  bool number_integer(number_integer_t) override { return refuse("a number is negative"); }
  bool number_float(number_float_t, const string_t&) override {
    return refuse("a number is not whole");
  }
  bool binary(binary_t&) override { return refuse("it is not text"); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return refuse(fmt::format("it is not valid JSON at byte {}", position));
  }

 private:
  bool refuse(std::string why) {
    problem = std::move(why);
    return false;
  }
  int depth_ = 0;
  bool in_array_ = false, in_metadata_ = false;
  std::string key_, field_;
  std::unordered_set<std::string> names_;
};

DType parse_type(const Entry& entry, const std::string& path) {
  for (const TypeName& known : kTypes)
    if (known.text == entry.dtype) return known.dtype;
  fail(ErrorKind::checkpoint,
       fmt::format("{}: {} has dtype {}, which is not read. Convert it to F32, F16 or BF16", path,
                   entry.name, entry.dtype.substr(0, 40)));
}

}  // namespace

bool looks_like_safetensors(ByteSpan bytes) {
  return bytes.size() >= 9 && bytes[8] == '{' && ByteReader(bytes, "").u64() <= kHeaderLimit;
}

SafetensorsFile read_safetensors(const MappedFile& file) {
  const std::string& path = file.path();
  ByteReader reader(file.bytes(), path);
  const std::uint64_t length = reader.u64();
  TILLER_CHECK_FILE(length <= kHeaderLimit,
                    "{} is no safetensors file: its header would have {} bytes", path, length);
  const std::string_view text = reader.text(length);
  HeaderEvents header;
  const bool parsed = nlohmann::json::sax_parse(text.begin(), text.end(), &header);
  TILLER_CHECK_FILE(parsed && header.problem.empty(), "{} is damaged: in its header, {}", path,
                    header.problem);

  std::stable_sort(header.entries.begin(), header.entries.end(),
                   [](const Entry& a, const Entry& b) { return a.offsets < b.offsets; });
  SafetensorsFile result;
  result.metadata = std::move(header.metadata);
  const ByteSpan buffer = reader.take(reader.remaining());
  std::uint64_t reached = 0;
  for (Entry& entry : header.entries) {
    FileTensor tensor;
    tensor.dtype = parse_type(entry, path);
    std::uint64_t bytes = size_of(tensor.dtype);
    bool broken = entry.offsets.size() != 2;
    std::int64_t extent = 1;  // as if no dimension were empty, so that strides cannot overflow
    for (const std::int64_t n : entry.shape)
      broken = broken || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(n), &bytes) ||
               __builtin_mul_overflow(extent, std::max<std::int64_t>(n, 1), &extent);
    TILLER_CHECK_FILE(!broken && entry.offsets[0] == reached && entry.offsets[1] >= reached &&
                          entry.offsets[1] - reached == bytes,
                      "{} is damaged: {} {}{} does not fit its place in the file", path, entry.name,
                      entry.dtype, to_string(entry.shape));
    TILLER_CHECK_FILE(entry.offsets[1] <= buffer.size(),
                      "{} is a truncated download: {} ends at byte {} of {}. Fetch the file again",
                      path, entry.name, entry.offsets[1], buffer.size());
    FileBytes storage;
    storage.bytes = buffer.subspan(reached, bytes);
    storage.what = entry.name;
    reached = entry.offsets[1];
    tensor.name = std::move(entry.name);
    tensor.shape = std::move(entry.shape);
    tensor.stride.resize(tensor.shape.size());
    std::int64_t step = 1;
    for (std::size_t d = tensor.shape.size(); d-- > 0;) {
      tensor.stride[d] = step;
      step *= std::max<std::int64_t>(tensor.shape[d], 1);
    }
    tensor.storage = static_cast<int>(result.tensors.size());
    result.tensors.push_back(std::move(tensor));
    result.storages.push_back(std::move(storage));
  }
  TILLER_CHECK_FILE(reached == buffer.size(), "{} is damaged: {} bytes follow its last tensor",
                    path, buffer.size() - reached);
  return result;
}

}  // namespace tiller
