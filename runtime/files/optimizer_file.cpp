#include <cmath>

#include "runtime/files/state_dict.h"
#include "runtime/files/torch_file.h"

namespace tiller {

namespace {

using Kind = PickleValue::Kind;

class OptimizerReader {
 public:
  explicit OptimizerReader(TorchFile file) : file_(std::move(file)), path_(file_.file->path()) {}

  OptimizerFile read() {
    const StateDict found = find_state_dict(file_.pickle, path_);
    TILLER_CHECK_FILE(found.content == FileContent::optimizer,
                      "{} holds weights, not the state of an optimizer (opt*.pt)", path_);
    OptimizerFile result;
    const PickleValue root = file_.pickle.root();
    for (const PickleValue group : file_.pickle.items(*file_.pickle.find(root, "param_groups")))
      result.groups.push_back(read_group(group));
    for (const auto& [key, value] : file_.pickle.entries(*file_.pickle.find(root, "state"))) {
      TILLER_CHECK_FILE(key.is(Kind::integer),
                        "{}: an entry of the optimizer's state is not numbered", path_);
      TILLER_CHECK_FILE(!file_.pickle.find(value, "max_exp_avg_sq"),
                        "{} was written by AdamW with amsgrad, which is not supported", path_);
      OptimizerFile::State state;
      state.step = number(value, "step", key.payload);
      state.exp_avg = tensor(value, "exp_avg", key.payload);
      state.exp_avg_sq = tensor(value, "exp_avg_sq", key.payload);
      TILLER_CHECK_FILE(state.exp_avg.shape() == state.exp_avg_sq.shape(),
                        "{}: the moments of parameter {} have shapes {} and {}", path_, key.payload,
                        to_string(state.exp_avg.shape()), to_string(state.exp_avg_sq.shape()));
      result.state.insert_or_assign(key.payload, std::move(state));
    }
    return result;
  }

 private:
  PickleValue field(PickleValue state, std::string_view key, std::int64_t parameter) const {
    const auto value = file_.pickle.find(state, key);
    TILLER_CHECK_FILE(value, "{}: the state of parameter {} has no {} (not AdamW's?)", path_,
                      parameter, key);
    return *value;
  }

  Tensor tensor(PickleValue state, std::string_view key, std::int64_t parameter) {
    const PickleValue value = field(state, key, parameter);
    TILLER_CHECK_FILE(value.is(Kind::tensor), "{}: {} of parameter {} is {}", path_, key, parameter,
                      file_.pickle.describe(value));
    return read_tensor(value, fmt::format("{} of parameter {}", key, parameter));
  }

  // The optimizer's state is written to, so it never borrows from the file.
  Tensor read_tensor(PickleValue value, const std::string& what) {
    const PickleTensor& described = file_.pickle.tensor(value);
    const FileTensor view = describe_tensor(file_, described, what);
    // Each moment has bytes of its own in the file; a hostile file might name the same ones for
    // ever.
    const auto bytes = static_cast<std::uint64_t>(view.numel()) * size_of(view.dtype);
    TILLER_CHECK_FILE(bytes <= allowance_, "{} is damaged: its tensors hold more than the file",
                      path_);
    allowance_ -= bytes;
    const Tensor t = read_view(file_.file, file_.storages[described.storage], file_.swapped, view);
    return t.storage()->borrowed() ? t.clone() : t;
  }

  double number(PickleValue state, std::string_view key, std::int64_t parameter) {
    const PickleValue value = field(state, key, parameter);
    if (const auto plain = value.number()) return *plain;
    TILLER_CHECK_FILE(value.is(Kind::tensor), "{}: {} of parameter {} is {}", path_, key, parameter,
                      file_.pickle.describe(value));
    const Tensor t = read_tensor(value, fmt::format("{} of parameter {}", key, parameter));
    TILLER_CHECK_FILE(t.numel() == 1, "{}: {} of parameter {} is {}, not one number", path_, key,
                      parameter, to_string(t));
    if (t.dtype() == DType::i64) return static_cast<double>(*t.data<std::int64_t>());
    if (t.dtype() == DType::i32) return static_cast<double>(*t.data<std::int32_t>());
    TILLER_CHECK_FILE(is_floating(t.dtype()), "{}: {} of parameter {} is {}", path_, key, parameter,
                      to_string(t));
    return *cast_on_host(t, DType::f64).data<double>();
  }

  OptimizerFile::Group read_group(PickleValue group) {
    TILLER_CHECK_FILE(group.is(Kind::dict), "{}: a group of parameters is {}", path_,
                      file_.pickle.describe(group));
    OptimizerFile::Group result;
    for (const char* key : {"lr", "eps", "weight_decay"})
      if (const auto value = file_.pickle.find(group, key); value && value->number())
        result.options[key] = *value->number();
    const auto betas = file_.pickle.find(group, "betas");
    if (betas && (betas->is(Kind::tuple) || betas->is(Kind::list)) &&
        file_.pickle.items(*betas).size() == 2) {
      const auto beta1 = file_.pickle.items(*betas)[0].number();
      const auto beta2 = file_.pickle.items(*betas)[1].number();
      if (beta1) result.options["beta1"] = *beta1;
      if (beta2) result.options["beta2"] = *beta2;
    }
    const auto params = file_.pickle.find(group, "params");
    TILLER_CHECK_FILE(params && params->is(Kind::list), "{}: a group lists no parameters", path_);
    listed_ += file_.pickle.items(*params).size();
    TILLER_CHECK_FILE(listed_ <= kListLimit,
                      "{} is damaged: its groups list more than {} parameters", path_, kListLimit);
    for (const PickleValue index : file_.pickle.items(*params)) {
      TILLER_CHECK_FILE(index.is(Kind::integer), "{}: a parameter of a group is not numbered",
                        path_);
      result.params.push_back(index.payload);
    }
    return result;
  }

  static constexpr std::size_t kListLimit = std::size_t{1} << 20;
  TorchFile file_;
  const std::string path_;
  std::uint64_t allowance_ = file_.file->bytes().size() + (std::uint64_t{16} << 20);
  std::size_t listed_ = 0;
};

}  // namespace

OptimizerFile read_optimizer(const std::string& path) {
  return parse_optimizer(MappedFile::open(path));
}

OptimizerFile parse_optimizer(std::shared_ptr<const MappedFile> file) {
  return OptimizerReader(read_torch_file(std::move(file))).read();
}

}  // namespace tiller
