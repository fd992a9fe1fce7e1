#include "tools/training/loop.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "runtime/trace.h"
#include "tools/sampling/announce.h"
#include "tools/sampling/interrupt.h"
#include "tools/sampling/progress.h"
#include "tools/training/openai_files.h"

namespace tiller {

namespace {

namespace fs = std::filesystem;

// The validation's numbers must not be the training's: another seed, the same steps.
constexpr std::uint64_t kValidationSeed = 0x5eed0fda7a;

constexpr std::int64_t kMeasuredSteps = 5;  // before the time is said for good

class Loop {
 public:
  explicit Loop(TrainingRun& run)
      : run_(run),
        batch_(run.batch_size),
        progress_(run.total > 0 ? (run.total - run.first_step) * batch_ : 0, "images") {}

  void run() {
    for (std::int64_t step = run_.first_step; run_.total == 0 || step < run_.total; ++step) {
      take(step);
      const bool last = run_.total > 0 && step + 1 == run_.total;
      if (step % run_.log_interval == 0) write_row(step);
      const bool due = step % run_.save_interval == 0 && (step > 0 || run_.save_first_step);
      const bool stop = interrupt_.requested();
      if (due || last || stop) save(step);
      show(step);
      if (stop && !last) {
        progress_.clear();
        throw Error(ErrorKind::interrupted,
                    fmt::format("interrupted behind step {}, which is saved; to go on: the same "
                                "command with --resume auto",
                                step));
      }
    }
  }

 private:
  void take(std::int64_t step) {
    const auto begin = std::chrono::steady_clock::now();
    const StepScope step_scope(step);
    const StepInputs in = run_.inputs ? run_.inputs(step) : drawn(step);
    const bool moved = run_.trainer->step(
        step, in.size(),
        [&](std::int64_t b, std::int64_t e) { return run_.loss(in, b, e, run_.log); }, run_.log);
    if (!moved) {
      const std::string text = fmt::format("Found NaN, decreased lg_loss_scale to {:g}",
                                           run_.trainer->loss_scale().lg());
      run_.files->note(text);
      progress_.clear();
      std::fputs((text + (explained_ ? "\n"
                                     : " (a few of these are normal: the loss scale is found that "
                                       "way)\n"))
                     .c_str(),
                 stderr);
      explained_ = true;
    }
    if (const auto entry = run_.log.entries().find(run_.loss_key);
        entry != run_.log.entries().end())
      loss_ = entry->second.sum / static_cast<double>(entry->second.count);
    if (run_.validation && step % run_.eval_interval == 0) validate(step);
    correct_plan(step, begin);
  }

  StepInputs drawn(std::int64_t step) {
    if (!held_ || !run_.overfit_one_batch) held_ = run_.data->next();
    return draw_inputs(held_.x, held_.y, step, *run_.sampler, run_.draw);
  }

  // What was estimated gives way to what was measured: behind the first step, which packs weights
  // and fills caches, and once more behind some that did not.
  void correct_plan(std::int64_t step, std::chrono::steady_clock::time_point begin) {
    const std::int64_t done = step - run_.first_step + 1;
    if (done > kMeasuredSteps) return;
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (done > 1) later_steps_ += seconds / static_cast<double>(kMeasuredSteps - 1);
    if (done == 1)
      say_time(fmt::format("the first step took {:.3g} s", seconds), seconds, step);
    else if (done == kMeasuredSteps)
      say_time(fmt::format("steps 2 to {} took {:.3g} s each", kMeasuredSteps, later_steps_),
               later_steps_, step);
  }

  void say_time(const std::string& what, double seconds, std::int64_t step) {
    const std::int64_t left = run_.total - step - 1;
    progress_.clear();
    announce("time",
             fmt::format("{}{}{}", what,
                         run_.estimated_seconds > 0
                             ? fmt::format(" ({:.2g} s estimated)", run_.estimated_seconds)
                             : "",
                         left > 0 ? fmt::format("; {} more at that rate take {}", left,
                                                clock_time(seconds * static_cast<double>(left)))
                                  : ""));
  }

  void validate(std::int64_t step) {
    const NoGrad no_recording;
    const Batch batch = run_.validation->next();
    DrawOptions draw = run_.draw;
    draw.seed ^= kValidationSeed;
    draw.class_drop = 0;
    run_.validate(draw_inputs(batch.x, batch.y, step, *run_.sampler, draw), run_.log);
  }

  void write_row(std::int64_t step) {
    std::map<std::string, double> row = run_.log.take();
    row["step"] = static_cast<double>(step);
    row["samples"] = static_cast<double>((step + 1) * batch_);
    progress_.clear();
    run_.files->row(row);
  }

  void save(std::int64_t step) {
    progress_.clear();
    const std::string path = state_file(run_.folder, step);
    run_.files->note("saving model 0...");
    for (const Trainer::Average& average : run_.trainer->averages())
      run_.files->note(fmt::format("saving model {}...", rate_in_name(average.ema.rate())));
    if (run_.openai_files)
      write_openai_files(run_.folder, step, *run_.trainer, run_.flat_optimizer);
    // Last, for --resume auto goes by it: where it stands, everything of its step does.
    write_state(path,
                {.step = step,
                 .data = run_.data && !run_.overfit_one_batch ? run_.data->position() : 0,
                 .validation = run_.validation ? run_.validation->position() : 0,
                 .flags = run_.flags},
                *run_.trainer, *run_.sampler, run_.log, run_.metadata);
    announce("saved", path);
    if (run_.at_save) run_.at_save(step);
    prune();
  }

  // Removes the oldest checkpoints beyond those that stay, each with its files beside it.
  void prune() const {
    if (run_.keep <= 0) return;
    std::vector<std::int64_t> steps = saved_steps(run_.folder);
    while (static_cast<std::int64_t>(steps.size()) > run_.keep) {
      const std::int64_t step = steps.front();
      steps.erase(steps.begin());
      std::error_code ignored;  // what cannot be removed is no reason to stop training
      for (const Trainer::Average& average : run_.trainer->averages())
        fs::remove(ema_file(run_.folder, average.ema.rate(), step), ignored);
      fs::remove(model_file(run_.folder, step), ignored);
      fs::remove(optimizer_file(run_.folder, step), ignored);
      fs::remove(state_file(run_.folder, step), ignored);
    }
  }

  void show(std::int64_t step) {
    progress_.update(
        (step + 1 - run_.first_step) * batch_,
        fmt::format("step {}{}, {} {:.4g}", step,
                    run_.total > 0 ? fmt::format(" of {}", run_.total) : "", run_.loss_key, loss_));
  }

  TrainingRun& run_;
  std::int64_t batch_;
  InterruptGuard interrupt_;
  Progress progress_;
  Batch held_;
  double loss_ = NAN;       // mean since the last line of the log
  double later_steps_ = 0;  // mean seconds of steps 2 to kMeasuredSteps
  bool explained_ = false;  // what an overflow is
};

}  // namespace

void run_training(TrainingRun& run) { Loop(run).run(); }

}  // namespace tiller
