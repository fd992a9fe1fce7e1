#pragma once
// Batches out of a dataset, read ahead by threads of their own.
#include <cstdint>
#include <memory>

#include "runtime/tensor.h"
#include "tools/data/dataset.h"

namespace tiller {

/// What happens where the pictures end.
enum class Epochs : std::uint8_t {
  cycle,  ///< the next epoch goes on within the batch: every picture counts equally often
  drop,   ///< an unfinished batch is left out, as guided-diffusion does; cycles when the set is
          ///< smaller than a batch
  once,   ///< one epoch; its last batch may be smaller, and behind it next() gives an empty one
};

struct LoaderOptions {
  std::int64_t batch_size = 1;
  std::int64_t image_size = 64;
  bool random_crop = false;  ///< else the middle
  bool random_flip = false;  ///< left and right, every second picture
  bool shuffle = true;       ///< a new order each epoch; else that of the dataset
  Epochs epochs = Epochs::cycle;
  std::uint64_t seed = 0;
  int threads = 2;              ///< that read ahead, at least 1
  std::int64_t read_ahead = 4;  ///< batches that may wait, at least 1
};

struct Batch {
  Tensor x;                // [N,S,S,C] f32, in [-1, 1]; undefined when nothing is left
  Tensor y;                // [N] i64, undefined without classes
  std::int64_t first = 0;  ///< place of its first picture: 0 the first of epoch 0, counting on
  explicit operator bool() const { return x.defined(); }
};

/// Hands out batches in an order that is a function of the seed alone. Every place in the order has
/// an epoch and a picture, and order, crop and flip are drawn by Philox from (seed, epoch,
/// picture): a loader that seeks to a place goes on exactly as one that came there by itself,
/// however many threads read. A picture that cannot be read is named once on stderr and its places
/// are passed over, which is as repeatable. One thread may call next(), position() and seek().
class Loader {
 public:
  Loader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The next batch of batch_size pictures. Throws Error(failed) when a whole epoch holds no
  /// picture that can be read, or, with Epochs::drop, too few for a batch.
  Batch next();
  /// Places consumed so far, passed-over ones included: where the next batch starts. What a
  /// checkpoint keeps.
  std::int64_t position() const;
  /// Goes on from a place; what was read ahead is dropped.
  void seek(std::int64_t position);
  /// Pictures named on stderr so far.
  std::int64_t unreadable() const;

  const Dataset& dataset() const;
  const LoaderOptions& options() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tiller
