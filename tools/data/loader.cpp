#include "tools/data/loader.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <exception>
#include <limits>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "tools/data/crop.h"
#include "tools/data/order.h"
#include "tools/report/printable.h"

namespace tiller {

namespace {

/// Pictures at consecutive places, made by one thread.
struct Run {
  std::int64_t first = 0;  // place
  Tensor x;                // [n,S,S,C] f32
  struct Entry {
    std::int64_t picture = 0;
    std::string error;  // why it cannot be read, "" when it was
  };
  std::vector<Entry> entries;    // [n]
  std::exception_ptr exception;  // anything but an unreadable picture, for the caller of next()
  bool done = false;
};

// p / 127.5 - 1 in f32, rounded after each step as numpy does it.
const std::array<float, 256>& levels() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> values{};
    for (std::size_t p = 0; p < values.size(); ++p) {
      const float scaled = static_cast<float>(p) / 127.5f;
      values[p] = scaled - 1;
    }
    return values;
  }();
  return table;
}

// picture u8 [S,S,C] -> x f32 [S,S,C], mirrored or not.
void to_input(const Tensor& picture, bool flip, float* x) {
  const auto* pixels = picture.data<std::uint8_t>();
  const std::int64_t height = picture.dim(0), width = picture.dim(1), channels = picture.dim(2);
  const std::array<float, 256>& level = levels();
  for (std::int64_t row = 0; row < height; ++row)
    for (std::int64_t column = 0; column < width; ++column) {
      const std::int64_t from = flip ? width - 1 - column : column;
      const std::uint8_t* pixel = pixels + (row * width + from) * channels;
      for (std::int64_t c = 0; c < channels; ++c) *x++ = level[pixel[c]];
    }
}

}  // namespace

struct Loader::Impl {
  Impl(std::shared_ptr<const Dataset> from, const LoaderOptions& asked)
      : dataset(std::move(from)),
        options(asked),
        order(dataset->size(), asked.seed, asked.shuffle) {
    TILLER_CHECK(options.batch_size >= 1 && options.image_size >= 1 && options.threads >= 1 &&
                     options.read_ahead >= 1,
                 "loader: batches of {}, pictures of {} pixels, {} threads and {} batches ahead "
                 "must all be at least 1",
                 options.batch_size, options.image_size, options.threads, options.read_ahead);
    // Long enough that a lock costs nothing, short enough that every thread has a part of a batch.
    run_length = std::clamp<std::int64_t>(options.batch_size / (2 * options.threads), 1, 32);
    most_runs = static_cast<std::size_t>(
        (options.read_ahead * options.batch_size + run_length - 1) / run_length + options.threads);
    start(0);
  }
  ~Impl() { stop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // --- the threads that read ahead ---

  void start(std::int64_t place) {
    position = next_place = place;
    offset = 0;
    stopping = false;
    try {
      for (int i = 0; i < options.threads; ++i) threads.emplace_back([this] { work(); });
    } catch (...) {  // no more threads to be had: those that run must not outlive this
      stop();
      throw;
    }
  }

  void stop() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    changed.notify_all();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
    runs.clear();
  }

  void work() {
    for (;;) {
      std::shared_ptr<Run> run;
      {
        std::unique_lock lock(mutex);
        const auto ended = [&] { return next_place >= end_place(); };
        changed.wait(lock, [&] { return stopping || (runs.size() < most_runs && !ended()); });
        if (stopping) return;
        run = std::make_shared<Run>();
        run->first = next_place;
        const std::int64_t n = std::min(run_length, end_place() - next_place);
        for (std::int64_t i = 0; i < n; ++i)
          run->entries.push_back({order.picture(next_place++), {}});
        runs.push_back(run);
      }
      try {
        fill(*run);
      } catch (...) {
        run->exception = std::current_exception();
      }
      {
        const std::lock_guard lock(mutex);
        run->done = true;
      }
      changed.notify_all();
    }
  }

  // Where the places end.
  std::int64_t end_place() const {
    return options.epochs == Epochs::once ? dataset->size()
                                          : std::numeric_limits<std::int64_t>::max();
  }

  void fill(Run& run) const {
    const std::int64_t size = options.image_size, channels = dataset->channels();
    const auto n = static_cast<std::int64_t>(run.entries.size());
    run.x = Tensor::empty({n, size, size, channels});
    for (std::int64_t i = 0; i < n; ++i) {
      Run::Entry& entry = run.entries[static_cast<std::size_t>(i)];
      try {
        const Tensor picture = dataset->picture(entry.picture);  // [H,W,C]
        const PhiloxWords words = order.draw(run.first + i, entry.picture);
        const Tensor square =
            options.random_crop ? random_crop(picture, size, words) : center_crop(picture, size);
        to_input(square, options.random_flip && (words.v[3] >> 31) != 0,
                 run.x.data<float>() + i * size * size * channels);
      } catch (const Error& error) {
        if (error.kind() == ErrorKind::out_of_memory) throw;
        entry.error = error.what();
      }
    }
  }

  // --- the caller of next() ---

  /// The run that holds the place `position`, waiting for it; null behind the last one.
  std::shared_ptr<Run> current() {
    std::unique_lock lock(mutex);
    if (runs.empty() && position >= end_place()) return nullptr;
    changed.wait(lock, [&] { return !runs.empty() && runs.front()->done; });
    if (runs.front()->exception) std::rethrow_exception(runs.front()->exception);
    return runs.front();
  }

  /// Goes to the next place.
  void advance(const Run& run) {
    ++position;
    if (++offset < run.entries.size()) return;
    offset = 0;
    {
      const std::lock_guard lock(mutex);
      runs.pop_front();
    }
    changed.notify_all();
  }

  void name_once(std::int64_t picture, const std::string& error) {
    if (!named.insert(picture).second) return;
    const std::string line = fmt::format("warning: a picture is left out: {}\n", printable(error));
    std::fputs(line.c_str(), stderr);  // which may be closed: nobody is left to be told
  }

  Batch next() {
    const std::int64_t size = dataset->size();
    const Shape shape = {options.batch_size, options.image_size, options.image_size,
                         dataset->channels()};
    const std::int64_t pixels = shape.numel() / options.batch_size;
    const bool drops = options.epochs == Epochs::drop && size >= options.batch_size;
    // In a shuffled order the only readable picture may stand first and then last.
    const std::int64_t limit = options.epochs == Epochs::once ? size : 2 * size;
    Batch batch;
    batch.first = position;
    std::vector<std::int64_t> labels;  // of the pictures taken so far
    std::int64_t passed_over = 0;      // since the last of them
    while (static_cast<std::int64_t>(labels.size()) < options.batch_size) {
      if (drops && position % size == 0 && position > batch.first) {
        // The epoch had too little left. One that had too little from its start never has enough.
        TILLER_CHECK(position - batch.first < size,
                     "{}: {} of them can be read, which makes no batch of {}",
                     dataset->description(), labels.size(), options.batch_size);
        labels.clear();
        batch.first = position;
      }
      const std::shared_ptr<Run> run = current();
      if (!run) break;
      const Run::Entry& entry = run->entries[offset];
      if (entry.error.empty()) {
        if (!batch.x) batch.x = Tensor::empty(shape);
        std::memcpy(batch.x.data<float>() + static_cast<std::int64_t>(labels.size()) * pixels,
                    run->x.data<float>() + static_cast<std::int64_t>(offset) * pixels,
                    static_cast<std::size_t>(pixels) * sizeof(float));
        labels.push_back(dataset->label(entry.picture));
        passed_over = 0;
      } else {
        name_once(entry.picture, entry.error);
        ++passed_over;
      }
      advance(*run);
      TILLER_CHECK(passed_over < limit, "{}: none of them can be read", dataset->description());
    }
    const auto count = static_cast<std::int64_t>(labels.size());
    if (count == 0) return batch;  // behind the end
    batch.x = batch.x.slice(0, count);
    if (!dataset->class_names().empty()) batch.y = Tensor::from(labels, {count});
    return batch;
  }

  const std::shared_ptr<const Dataset> dataset;
  const LoaderOptions options;
  std::int64_t run_length = 1;
  std::size_t most_runs = 1;

  std::mutex mutex;  // of what follows, and of a run's `done`
  std::condition_variable changed;
  Order order;
  std::deque<std::shared_ptr<Run>> runs;  // in the order of their places
  std::int64_t next_place = 0;            // the first that no run holds
  bool stopping = false;

  // The caller's own.
  std::int64_t position = 0;
  std::size_t offset = 0;  // of `position` within the first run
  std::set<std::int64_t> named;
  std::vector<std::thread> threads;
};

Loader::Loader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options)
    : impl_(std::make_unique<Impl>(std::move(dataset), options)) {}
Loader::~Loader() = default;

Batch Loader::next() { return impl_->next(); }
std::int64_t Loader::position() const { return impl_->position; }

void Loader::seek(std::int64_t position) {
  TILLER_CHECK(position >= 0, "loader: there is no place {}", position);
  impl_->stop();
  impl_->start(position);
}

std::int64_t Loader::unreadable() const { return static_cast<std::int64_t>(impl_->named.size()); }
const Dataset& Loader::dataset() const { return *impl_->dataset; }
const LoaderOptions& Loader::options() const { return impl_->options; }

}  // namespace tiller
