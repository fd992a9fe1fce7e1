#include "bench/options.h"

#include <charconv>
#include <cmath>
#include <functional>
#include <map>

#include "runtime/parallel.h"

namespace tiller::bench {

namespace {

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> list;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    if (comma > at) list.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return list;
}

double positive_real(const std::string& flag, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) ||
      value <= 0)
    fail(ErrorKind::usage, fmt::format("{}: {} is not a positive number", flag, text));
  return value;
}

Rates parse_rates(const std::string& text) {
  const std::vector<std::string> both = words(text);
  if (both.size() != 2)
    fail(ErrorKind::usage, fmt::format("--floors {} is not TFLOPS,GBYTES", text));
  return {1e12 * positive_real("--floors", both[0]), 1e9 * positive_real("--floors", both[1])};
}

std::int64_t positive(const std::string& flag, const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1)
    fail(ErrorKind::usage, fmt::format("{} {} is not a positive number", flag, text));
  return value;
}

DType parse_torso(const std::string& word) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    if (word == name(dtype)) return dtype;
  fail(ErrorKind::usage, fmt::format("--dtype {} is not f32, f16 or bf16", word));
}

}  // namespace

std::string help() {
  return R"(Measures every row of every operation on the shapes of the published models.

  tiller bench --op conv2d_fwd                    all rows on the 64x64 models' convolutions
  tiller bench --op conv2d_fwd --row v2_indirect_avx512 --shape 1,32,32,384
  tiller bench --plain --op conv2d_fwd --versus onednn   paired comparison with a peer
  tiller bench --ceilings                         multiply-add peak and copy bandwidth

which calls
  --model NAMES    known models, comma-separated, or "all" (64x64_diffusion,64x64_classifier)
  --pass NAMES     forward, guidance, training (forward)
  --batch N        pictures at once (1)
  --dtype NAME     of the torso: f32, f16, bf16 (f32)
  --tf32           f32 tensors may be multiplied in TF32
  --max-gflop X    leave calls of more out
  --op NAMES       only these operations
  --row NAMES      only these rows
  --shape TEXT     only calls whose description holds TEXT
  --plain          without fusions: what a library that knows none can run, too
  --list           print the calls and their rows, measure nothing
  --floors T,G     the least time of the calls at T TFLOP/s and G GB/s (read plus written), by
                   operation, as CSV; measures nothing
how
  --device NAME    cpu, cuda, cuda:1, simt (cpu): elsewhere than on the CPU each call is repeated
                   in a captured graph, study rows are left out above 20 GFLOP, and the output is
                   CSV
  --twins          hold each row against the same row on simt instead of measuring it
  --versus ROW     hold the default row (or --row) against ROW, alternately, and print ratios
  --rounds N       of --versus: how often each of the two runs (7)
  --cpu-time       of --versus: processor time instead of the wall's, for a busy machine
                   (with --threads 1: a waiting thread spins)
  --no-check       do not compare each row with the reference first
  --threads N      as TILLER_THREADS
  --markdown       a table for the chapters instead of Google Benchmark's
  --benchmark_...  Google Benchmark's own flags
)";
}

Options parse_options(int argc, char** argv) {
  Options o;
  const std::map<std::string, std::function<void(const std::string&)>> valued{
      {"--op", [&](const auto& v) { o.op = v; }},
      {"--row", [&](const auto& v) { o.row = v; }},
      {"--shape", [&](const auto& v) { o.shape = v; }},
      {"--model", [&](const auto& v) { o.models = v == "all" ? model_names() : words(v); }},
      {"--pass",
       [&](const auto& v) {
         o.passes.clear();
         for (const std::string& word : words(v)) o.passes.push_back(parse_pass(word));
       }},
      {"--batch", [&](const auto& v) { o.batch = positive("--batch", v); }},
      {"--floors", [&](const auto& v) { o.floors = parse_rates(v); }},
      {"--versus", [&](const auto& v) { o.versus = v; }},
      {"--device", [&](const auto& v) { o.device = parse_device(v); }},
      {"--dtype", [&](const auto& v) { o.dtype = parse_torso(v); }},
      {"--max-gflop",
       [&](const auto& v) { o.max_gflop = static_cast<double>(positive("--max-gflop", v)); }},
      {"--rounds", [&](const auto& v) { o.rounds = static_cast<int>(positive("--rounds", v)); }},
      {"--threads",
       [&](const auto& v) { set_threads(static_cast<int>(positive("--threads", v))); }}};
  const std::map<std::string, bool*> switches{
      {"--plain", &o.plain},       {"--list", &o.list}, {"--ceilings", &o.ceilings},
      {"--markdown", &o.markdown}, {"--help", &o.help}, {"-h", &o.help},
      {"--cpu-time", &o.cpu_time}, {"--tf32", &o.tf32}, {"--twins", &o.twins}};
  o.google.push_back(argv[0]);
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const std::size_t equals = word.find('=');
    const std::string flag = word.substr(0, equals);
    if (word.starts_with("--benchmark_") || word.starts_with("--v=")) {
      o.google.push_back(argv[i]);
    } else if (const auto at = switches.find(word); at != switches.end()) {
      *at->second = true;
    } else if (word == "--no-check") {
      o.check = false;
    } else if (const auto value = valued.find(flag); value != valued.end()) {
      if (equals == std::string::npos && i + 1 == argc)
        fail(ErrorKind::usage, fmt::format("{} wants a value", flag));
      value->second(equals == std::string::npos ? argv[++i] : word.substr(equals + 1));
    } else {
      fail(ErrorKind::usage, fmt::format("{} is no flag of tiller bench (see --help)", word));
    }
  }
  return o;
}

}  // namespace tiller::bench
