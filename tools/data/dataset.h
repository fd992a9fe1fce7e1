#pragma once
// Pictures to learn from, wherever they lie, with their classes.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/tensor.h"

namespace tiller {

/// What tells the class of a picture in a folder.
enum class LabelSource : std::uint8_t {
  none,       ///< nothing: pictures without classes, whatever they are called
  automatic,  ///< sub-folders where all pictures stand in several of them, else names
  folders,    ///< the folder below the data's own: cat/0001.jpg
  names,      ///< the text before the first underscore: cat_0001.jpg, as guided-diffusion reads it
};

struct DatasetOptions {
  LabelSource labels = LabelSource::automatic;
  /// The classes in the order of their numbers, to number a validation set as the training set was;
  /// a class that is not among them is an error. Empty: the data's own, sorted by name.
  std::vector<std::string> class_names = {};
  /// 0: as stored (3 for files of pictures); 1: grey, weighted as PIL's convert("L"); 3: grey
  /// repeated.
  std::int64_t channels = 0;
  /// Decoded files are kept in memory where all of them fit into so many bytes.
  std::size_t cache_bytes = std::size_t{1} << 29;
};

/// A numbered set of pictures. Reading is safe from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;

  std::int64_t size() const { return size_; }          ///< at least 1
  std::int64_t channels() const { return channels_; }  ///< of every picture
  /// By the class's number; empty when there are no classes, "0", "1", ... when they have no names.
  const std::vector<std::string>& class_names() const { return class_names_; }
  /// The class of picture i, -1 where there are none.
  std::int64_t label(std::int64_t i) const {
    return labels_.empty() ? -1 : labels_[static_cast<std::size_t>(i)];
  }
  /// What to call picture i: its path, or "data_batch_1.bin[17]".
  virtual std::string name(std::int64_t i) const = 0;
  /// Picture i: u8 [H,W,C], of any height and width. Throws Error(failed) for one that cannot be
  /// read.
  Tensor picture(std::int64_t i) const;
  /// One line for the user: how many pictures, where, which classes, and what told them.
  const std::string& description() const { return description_; }

 protected:
  Dataset() = default;
  virtual Tensor read(std::int64_t i) const = 0;  // u8 [H,W,C] as it is stored
  void set_channels(const std::string& path, std::int64_t stored, std::int64_t asked);

  std::int64_t size_ = 0, channels_ = 3;
  std::vector<std::string> class_names_;
  std::vector<std::int64_t> labels_;  // one each, or empty
  std::string description_;
};

/// Opens a folder of PNG, JPEG and GIF files (searched recursively, in the order of their paths,
/// hidden files left out), CIFAR-10's binary batches (one .bin file, or a folder that holds some;
/// class names from batches.meta.txt), or an npz (arr_0 u8 [N,H,W,C], labels in arr_1). Errors:
/// failed for no pictures, classes that only some pictures tell or options.class_names lacks; usage
/// for classes by folders or names where no files are; checkpoint for a damaged npz or batch.
std::shared_ptr<const Dataset> open_dataset(const std::string& path,
                                            const DatasetOptions& options = {});

}  // namespace tiller
