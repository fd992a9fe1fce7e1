#pragma once
#include <memory>

#include "runtime/op.h"

namespace tiller {

/// One table of an operation's own rows and, behind them, those that call another library. Such
/// rows are found at configuration time, so their number is not known here.
template <class Args>
class RowTable {
 public:
  RowTable(std::span<const Row<Args>> own, std::span<const Row<Args>> peers)
      : size_(own.size() + peers.size()), rows_(new Row<Args>[size_]()) {
    Row<Args>* to = rows_.get();
    for (const std::span<const Row<Args>> part : {own, peers})
      for (const Row<Args>& row : part) {
        to->name = row.name;
        to->device = row.device;
        to->math = row.math;
        to->kind = row.kind;
        to->supports = row.supports;
        to->workspace = row.workspace;
        to->run = row.run;
        ++to;
      }
  }
  std::span<const Row<Args>> rows() const { return {rows_.get(), size_}; }

 private:
  std::size_t size_;
  std::unique_ptr<Row<Args>[]> rows_;
};

}  // namespace tiller
