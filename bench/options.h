#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "bench/floors.h"
#include "bench/networks.h"

namespace tiller::bench {

/// The command line; help() documents each.
struct Options {
  std::string op, row, shape;
  std::vector<std::string> models{"64x64_diffusion", "64x64_classifier"};
  std::vector<Pass> passes{Pass::forward};
  std::int64_t batch = 1;
  Device device = kCpu;
  DType dtype = DType::f32;
  bool tf32 = false, twins = false;
  double max_gflop = 0;  ///< leave larger calls out; 0: none
  Rates floors;          ///< of the machine whose floors are asked for; else zeros
  std::string versus;
  int rounds = 7;
  bool plain = false, list = false, ceilings = false, markdown = false, check = true, help = false,
       cpu_time = false;
  std::vector<char*> google;  ///< what is left for Google Benchmark, the program's name first
};

/// Throws Error(usage).
Options parse_options(int argc, char** argv);
std::string help();

}  // namespace tiller::bench
