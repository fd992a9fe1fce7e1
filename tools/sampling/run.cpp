#include "tools/sampling/run.h"

#include <algorithm>
#include <new>
#include <optional>

#include "tools/pictures/pixels.h"
#include "tools/sampling/denoiser.h"
#include "tools/sampling/interrupt.h"
#include "tools/sampling/progress.h"

namespace tiller {

namespace {

class Loop {
 public:
  Loop(const SamplingRun& run, SampleWriter& writer)
      : run_(run),
        writer_(writer),
        denoiser_(*run.unet->unet, run.classifier ? run.classifier->classifier.get() : nullptr,
                  run.scale, *run.diffusion),
        replays_(run.sampler.graph && backend(denoiser_.device()).captures()),
        progress_(run.count * run.diffusion->steps(), "picture steps") {
    denoiser_.on_network = [this] {
      if (interrupt_.requested()) fail(ErrorKind::interrupted, "interrupted");
    };
  }

  std::vector<std::string> run() {
    try {
      skip_draws();
      while (writer_.finished() < run_.count) batch();
      progress_.clear();
      writing_ = true;
      return writer_.finish();
    } catch (const Error& error) {
      progress_.clear();
      stop(error.kind(), error.what());
    } catch (const std::bad_alloc&) {
      progress_.clear();
      stop(ErrorKind::out_of_memory, "out of memory");
    }
  }

 private:
  Shape batch_shape(std::int64_t n) const {
    return {n, run_.picture[0], run_.picture[1], run_.picture[2]};
  }

  // A generator with a state must stand where the skipped batches would have left it.
  void skip_draws() {
    if (!run_.draws->full_batches()) return;
    for (std::int64_t first = 0; first < run_.first_index; first += run_.batch_size) {
      if (run_.labels) run_.labels(first, run_.batch_size);
      const NoiseSource noise = run_.draws->noise(first);
      for (std::int64_t draw = 0; draw <= run_.diffusion->steps(); ++draw) {
        if (interrupt_.requested()) fail(ErrorKind::interrupted, "interrupted");
        noise(draw, batch_shape(run_.batch_size));
      }
    }
  }

  // A captured step serves all batches, so the last one is filled up to their size.
  std::int64_t batch_of(std::int64_t wanted) const {
    const bool more = run_.count > run_.batch_size;
    return run_.draws->full_batches() || (replays_ && more) ? run_.batch_size : wanted;
  }

  // The batch's own entries, then the last of them again.
  static Tensor filled_up(const Tensor& own, std::int64_t n) {
    if (!own || own.dim(0) == n) return own;
    const Tensor all = Tensor::empty(own.shape().with(0, n), own.dtype(), own.device());
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t from = std::min(i, own.dim(0) - 1);
      all.slice(i, i + 1).copy_from(own.slice(from, from + 1));
    }
    return all;
  }

  // Draws of a batch of n; beyond `own` entries nobody will look.
  NoiseSource noise_of(std::int64_t first, std::int64_t own) {
    return [this, own, host = run_.draws->noise(first)](std::int64_t draw, const Shape& shape) {
      return filled_up(host(draw, shape.with(0, own)), shape[0]).to(denoiser_.device());
    };
  }

  Sampler& start(std::int64_t first, std::int64_t own, std::int64_t n,
                 std::vector<std::int64_t> labels) {
    if (!labels.empty()) labels.resize(static_cast<std::size_t>(n), labels.back());
    denoiser_.start(n, labels.empty() ? Tensor() : Tensor::from(labels, {n}),
                    run_.low_res ? filled_up(run_.low_res(first, own), n) : Tensor());
    const std::optional<StepNoise> step_noise = run_.draws->step_noise(first);
    if (sampler_ && replays_ && sampler_->sample().dim(0) == n) {
      sampler_->restart(noise_of(first, own), step_noise);
      return *sampler_;
    }
    SampleOptions options = run_.sampler;
    options.step_noise = step_noise;
    sampler_.reset();  // first its memory, then the next one's
    sampler_.emplace(*run_.diffusion, denoiser_.model(), denoiser_.guide(), options, batch_shape(n),
                     noise_of(first, own));
    if (options.graph) denoiser_.follow(sampler_->state(), replays_);
    return *sampler_;
  }

  void batch() {
    const std::int64_t first = run_.first_index + writer_.finished();
    const std::int64_t wanted = std::min(run_.batch_size, run_.count - writer_.finished());
    const std::int64_t n = batch_of(wanted);
    const std::int64_t own = run_.draws->full_batches() ? n : wanted;
    const std::vector<std::int64_t> labels =
        run_.labels ? run_.labels(first, own) : std::vector<std::int64_t>();
    Sampler& sampler = start(first, own, n, labels);
    const std::int64_t steps = run_.diffusion->steps();
    for (std::int64_t done = 1; !sampler.done(); ++done) {
      const StepOutput out = sampler.next();
      if (replays_ && !sampler.done() && interrupt_.requested())
        fail(ErrorKind::interrupted, "interrupted");
      if (!replays_ && !all_finite(out.sample))
        fail(ErrorKind::failed,
             fmt::format("NaN or infinity in the sampler's own arithmetic at step {}: do the "
                         "diffusion flags fit the checkpoint?",
                         out.step));
      if (run_.preview_every > 0 && done % run_.preview_every == 0 && !sampler.done())
        preview(out, wanted, labels, done);
      progress_.update(
          writer_.finished() * steps + done * wanted,
          fmt::format("{} of {} pictures, step {} of {}",
                      writer_.finished() + (done == steps ? wanted : 0), run_.count, done, steps));
    }
    if (!denoiser_.numbers_are_finite() || (replays_ && !all_finite(sampler.sample())))
      fail(ErrorKind::failed,
           "NaN or infinity in what the networks gave; the same command with --no_graph True says "
           "at which step, in which module, and what the likely cause is");
    writing_ = true;
    writer_.add(to_pixels(sampler.sample()).slice(0, wanted), labels);
    writing_ = false;
  }

  void preview(const StepOutput& out, std::int64_t wanted, const std::vector<std::int64_t>& labels,
               std::int64_t done) {
    writing_ = true;
    writer_.preview(to_pixels(out.x_start).slice(0, wanted), labels,
                    fmt::format("step {} of {}", done, run_.diffusion->steps()));
    writing_ = false;
  }

  // Keeps what can be kept, and says how to go on.
  [[noreturn]] void stop(ErrorKind kind, std::string message) {
    const bool interrupted = kind == ErrorKind::interrupted;
    // Where the disk is full, the npz would fail as well; the pictures stand in their own files.
    if (writer_.finished() > 0 && (!writing_ || !writer_.keeps_pictures())) {
      try {
        writer_.finish();
      } catch (const Error& error) {
        message += fmt::format("; nor could the finished pictures be gathered: {}", error.what());
      }
    }
    if (kind == ErrorKind::out_of_memory)
      message += fmt::format(" with --batch_size {}{}", run_.batch_size,
                             run_.batch_size > 1 ? "; a smaller one needs less" : "");
    message += fmt::format("; {} of {} pictures are finished{}", writer_.finished(), run_.count,
                           writer_.finished() > 0 ? " and stay in " + run_.folder : "");
    const std::int64_t left = run_.count - writer_.finished();
    if ((interrupted || writing_) && left > 0)
      message += fmt::format("; to go on: the same command with --first_index {} --num_samples {}",
                             run_.first_index + writer_.finished(), left);
    throw Error(kind, message);
  }

  const SamplingRun& run_;
  SampleWriter& writer_;
  InterruptGuard interrupt_;
  Denoiser denoiser_;
  // Whether steps are replayed: one can then not be looked into, nor should the device wait for
  // that.
  const bool replays_;
  std::optional<Sampler> sampler_;
  Progress progress_;
  bool writing_ = false;  // whether an error comes from a file
};

}  // namespace

std::vector<std::string> run_sampling(const SamplingRun& run, SampleWriter& writer) {
  return Loop(run, writer).run();
}

}  // namespace tiller
