#pragma once
// What open_dataset() chooses from.
#include <memory>
#include <string>

#include "tools/data/dataset.h"

namespace tiller {

/// A folder of picture files, or one such file.
std::shared_ptr<const Dataset> open_picture_files(const std::string& path,
                                                  const DatasetOptions& options);

/// Whether open_cifar() would take the path: a .bin file, or a folder with batches.
bool is_cifar(const std::string& path);
/// CIFAR-10's binary version (Krizhevsky 2009): records of one byte for the class and 3072 for the
/// picture, red, green and blue planes of 32x32. Of a folder, data_batch_*.bin; where there are
/// none, test_batch.bin.
std::shared_ptr<const Dataset> open_cifar(const std::string& path, const DatasetOptions& options);

/// arr_0 u8 [N,H,W,C], and arr_1 i64 or i32 [N] with the classes.
std::shared_ptr<const Dataset> open_npz_pictures(const std::string& path,
                                                 const DatasetOptions& options);

}  // namespace tiller
