#pragma once
// The files of a run.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tools/sampling/spool.h"

namespace tiller {

/// What a run saves: --save.
struct SaveChoice {
  bool png = false, npz = false, grid = false;
};
/// "png,npz,grid" or a part of it. Throws Error(usage).
SaveChoice parse_save(const std::string& text);

/// What the writer must know of a run.
struct RunRecord {
  std::string folder;
  SaveChoice save;
  Shape picture;  ///< [H,W,C]
  std::int64_t first_index = 0;
  bool labelled = false;
  std::vector<std::string> class_names;  ///< may be empty
  /// Goes into every PNG as text, with the picture's own index and class.
  std::map<std::string, std::string> configuration;
  /// The command that makes a single picture again, from its index and class (-1: none); may be
  /// empty.
  std::function<std::string(std::int64_t index, std::int64_t label)> command;
};

/// Writes pictures as they are finished, each file whole or not at all: {index:06d}_c{class}.png
/// (without _c where there are no classes), and at the end grid.png, a contact sheet, and
/// samples_{N}x{H}x{W}x{C}.npz as guided-diffusion writes it: arr_0 u8 [N,H,W,C], arr_1 i64 [N]. A
/// run that does not start at index 0 adds _from_{index} to the npz's name, so that it does not
/// replace what it continues.
class SampleWriter {
 public:
  /// Makes the folder. Throws Error(failed) when it cannot, Error(usage) for pictures that no PNG
  /// can hold.
  explicit SampleWriter(RunRecord record);
  /// pixels u8 [n,H,W,C], labels [n] or empty. Throws Error(failed) on the first picture that
  /// cannot be written; those before it count as finished.
  void add(const Tensor& pixels, const std::vector<std::int64_t>& labels);
  /// Pictures written so far.
  std::int64_t finished() const { return finished_; }
  /// Whether each picture has a file of its own.
  bool keeps_pictures() const { return record_.save.png; }
  /// A sheet of unfinished pictures: preview.png.
  void preview(const Tensor& pixels, const std::vector<std::int64_t>& labels,
               const std::string& title) const;
  /// Writes the npz and the grid of what was added; returns the paths of both.
  std::vector<std::string> finish();

 private:
  std::string caption(std::int64_t index, std::int64_t label) const;
  std::map<std::string, std::string> text(std::int64_t index, std::int64_t label) const;
  void write_npz(const std::string& path) const;
  void write_grid(const std::string& path) const;
  RunRecord record_;
  std::unique_ptr<Spool> spool_;  // where the npz or the grid is wanted
  std::vector<std::int64_t> labels_;
  std::int64_t finished_ = 0;
};

}  // namespace tiller
