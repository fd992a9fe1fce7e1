#include "runtime/files/torch_write.h"

#include <algorithm>

#include "runtime/files/checkpoint.h"
#include "runtime/files/zip_writer.h"

namespace tiller {

void write_torch_zip(const std::string& path, PickleWriter pickle, const std::string& prefix) {
  ZipWriter zip(path, ZipStyle::torch);
  zip.add(prefix + "/data.pkl", pickle.finish());
  // PyTorch writes storages in the order of their keys as text: 0, 1, 10, 100, 11, ...
  std::vector<std::pair<std::string, Tensor>> storages;
  for (std::size_t i = 0; i < pickle.storages().size(); ++i)
    storages.emplace_back(fmt::format("{}", i), pickle.storages()[i]);
  std::sort(storages.begin(), storages.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [key, tensor] : storages) {
    zip.begin(fmt::format("{}/data/{}", prefix, key), tensor.bytes());
    zip.append(tensor.raw(), tensor.bytes());
    zip.end();
  }
  zip.add(prefix + "/version", "3\n");
  zip.finish();
}

void write_pt(const std::string& path, const std::vector<NamedTensor>& tensors) {
  PickleWriter pickle;
  pickle.begin_ordered_dict().begin_items(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i)
    pickle.next_item(i, tensors.size()).text(tensors[i].name).tensor(tensors[i].tensor);
  pickle.end_items(tensors.size());
  write_torch_zip(path, std::move(pickle));
}

namespace {

double option(const OptimizerFile::Group& group, const std::string& name, double standard) {
  const auto found = group.options.find(name);
  return found == group.options.end() ? standard : found->second;
}

void write_group(PickleWriter& pickle, const OptimizerFile::Group& group) {
  constexpr std::size_t kFields = 9;
  pickle.begin_dict().begin_items(kFields);
  pickle.text("lr").real(option(group, "lr", 1e-3));
  pickle.text("betas")
      .real(option(group, "beta1", 0.9))
      .real(option(group, "beta2", 0.999))
      .tuple(2);
  pickle.text("eps").real(option(group, "eps", 1e-8));
  pickle.text("weight_decay").real(option(group, "weight_decay", 0.0));
  pickle.text("amsgrad").boolean(false);
  pickle.text("foreach").none();
  pickle.text("maximize").boolean(false);
  pickle.text("capturable").boolean(false);
  const std::size_t count = group.params.size();
  pickle.text("params").begin_list().begin_items(count);
  for (std::size_t i = 0; i < count; ++i) pickle.next_item(i, count, true).integer(group.params[i]);
  pickle.end_items(count, true).end_items(kFields);
}

}  // namespace

void write_optimizer(const std::string& path, const OptimizerFile& optimizer) {
  PickleWriter pickle;
  pickle.begin_dict().begin_items(2);
  pickle.text("state").begin_dict().begin_items(optimizer.state.size());
  std::size_t i = 0;
  for (const auto& [parameter, state] : optimizer.state) {
    pickle.next_item(i++, optimizer.state.size()).integer(parameter).begin_dict().begin_items(3);
    // Newer PyTorch keeps the step as a 0-d tensor and refuses a plain number in some modes; older
    // PyTorch takes both.
    const Tensor step = Tensor::from(std::vector<float>{static_cast<float>(state.step)}, {});
    pickle.text("step").tensor(step).text("exp_avg").tensor(state.exp_avg);
    pickle.text("exp_avg_sq").tensor(state.exp_avg_sq).end_items(3);
  }
  pickle.end_items(optimizer.state.size());
  const std::size_t groups = optimizer.groups.size();
  pickle.text("param_groups").begin_list().begin_items(groups);
  for (i = 0; i < groups; ++i) {
    pickle.next_item(i, groups, true);
    write_group(pickle, optimizer.groups[i]);
  }
  pickle.end_items(groups, true).end_items(2);
  write_torch_zip(path, std::move(pickle));
}

}  // namespace tiller
