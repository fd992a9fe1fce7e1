// The rules of the house that a compiler does not check: who may include whom, how long a file may
// be, where CUDA's headers may appear, and that every folder has its chapter.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const fs::path kRoot = TILLER_SOURCE_DIR;

// The folders in order of dependency, and what each may include.
const std::map<std::string, std::set<std::string>> kMayInclude{
    {"runtime", {"runtime"}},
    {"kernels", {"runtime", "kernels"}},
    {"autograd", {"runtime", "kernels", "autograd"}},
    {"nn", {"runtime", "kernels", "autograd", "nn"}},
    {"diffusion", {"runtime", "kernels", "autograd", "diffusion"}},
    {"tools", {"runtime", "kernels", "autograd", "nn", "diffusion", "tools"}},
    {"bench", {"runtime", "kernels", "autograd", "nn", "diffusion", "tools", "bench"}},
    {"tests", {"runtime", "kernels", "autograd", "nn", "diffusion", "tools", "bench", "tests"}},
};

struct Source {
  std::string path;  // from the root
  std::string folder;
  std::vector<std::string> lines;
};

const std::vector<Source>& sources() {
  static const std::vector<Source> all = [] {
    std::vector<Source> found;
    for (const auto& [folder, allowed] : kMayInclude) {
      if (!fs::exists(kRoot / folder)) continue;
      for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
        const std::string extension = entry.path().extension();
        if (extension != ".h" && extension != ".cpp" && extension != ".cu" && extension != ".cuh")
          continue;
        Source source{fs::relative(entry.path(), kRoot), folder, {}};
        std::ifstream file(entry.path());
        for (std::string line; std::getline(file, line);) source.lines.push_back(line);
        found.push_back(std::move(source));
      }
    }
    return found;
  }();
  return all;
}

// The text between the quotes or brackets of an #include, or "".
std::string included(const std::string& line, char open, char close) {
  if (line.rfind("#include ", 0) != 0) return {};
  const std::size_t begin = line.find(open);
  const std::size_t end = line.rfind(close);
  if (begin == std::string::npos || end == std::string::npos || end <= begin) return {};
  return line.substr(begin + 1, end - begin - 1);
}

TEST(Style, EveryIncludeFollowsTheDependencyRule) {
  ASSERT_GT(sources().size(), 50u);
  for (const Source& source : sources())
    for (const std::string& line : source.lines) {
      const std::string header = included(line, '"', '"');
      if (header.empty()) continue;
      const std::string folder = header.substr(0, header.find('/'));
      EXPECT_TRUE(kMayInclude.at(source.folder).contains(folder))
          << source.path << " may not include " << header;
      EXPECT_TRUE(fs::exists(kRoot / header))
          << source.path << " includes " << header << ", which is not given from the root";
    }
}

TEST(Style, OnlyAutogradRunsKernels) {
  for (const Source& source : sources()) {
    if (source.folder != "nn" && source.folder != "diffusion" && source.folder != "tools") continue;
    for (const std::string& line : source.lines)
      EXPECT_EQ(line.find(" run(conv2d"), std::string::npos) << source.path << ": " << line;
  }
}

TEST(Style, CudaHeadersStayInDeviceFiles) {
  for (const Source& source : sources()) {
    const bool device = source.path.ends_with(".cu") || source.path.ends_with(".cuh") ||
                        source.path.rfind("runtime/cuda/", 0) == 0 ||
                        source.path.rfind("kernels/cuda/", 0) == 0 ||
                        source.path.rfind("kernels/cudnn/", 0) == 0;
    if (device) continue;
    for (const std::string& line : source.lines) {
      const std::string header = included(line, '<', '>');
      EXPECT_TRUE(header.rfind("cuda", 0) != 0 && header.rfind("cudnn", 0) != 0)
          << source.path << " includes " << header;
    }
  }
}

TEST(Style, HeadersHavePragmaOnceAndFilesAreShort) {
  for (const Source& source : sources()) {
    const bool header = source.path.ends_with(".h") || source.path.ends_with(".cuh");
    const bool once =
        std::find(source.lines.begin(), source.lines.end(), "#pragma once") != source.lines.end();
    EXPECT_TRUE(!header || once) << source.path;
    EXPECT_LE(source.lines.size(), 500u) << source.path << " is long: is it still one idea?";
    for (std::size_t i = 0; i < source.lines.size(); ++i)
      EXPECT_LE(source.lines[i].size(), 110u) << source.path << ":" << i + 1;
  }
}

TEST(Style, MacrosAreOurs) {
  for (const Source& source : sources()) {
    if (source.path == "kernels/simt/keywords.h") continue;  // CUDA's keywords, which C++ lacks
    for (const std::string& line : source.lines) {
      if (line.rfind("#define ", 0) != 0) continue;
      const bool third_party = line.find("STB") != std::string::npos;
      EXPECT_TRUE(line.rfind("#define TILLER_", 0) == 0 || third_party)
          << source.path << ": " << line;
    }
  }
}

// What makes it sound to run a kernel on the executor: it reaches the machine through
// kernels/device.cuh alone, so nothing in it depends on which of the two builds it is.
TEST(Style, KernelsUseTheirDoorOnly) {
  int kernels = 0;
  for (const Source& source : sources()) {
    const bool door =
        source.path == "kernels/device.cuh" || source.path.rfind("kernels/cuda/", 0) == 0;
    if (door || (!source.path.ends_with(".cu") && !source.path.ends_with(".cuh"))) continue;
    ++kernels;
    bool stands_in_device = false;
    for (const std::string& line : source.lines) {
      stands_in_device |= line == "inline namespace TILLER_DEVICE {";
      const std::string header = included(line, '"', '"');
      const bool known = header.empty() || header.ends_with(".cuh") ||
                         header.ends_with("/kernels.h") || header == "kernels/gemm/mma.h" ||
                         header == "kernels/view.h" || header == "runtime/philox.h";
      EXPECT_TRUE(known) << source.path << " includes " << header;
      EXPECT_TRUE(included(line, '<', '>').empty()) << source.path << ": " << line;
      for (const char* word : {"asm ", "<<<", "__shared__", "#if", "cuda"})
        EXPECT_EQ(line.find(word), std::string::npos) << source.path << ": " << line;
    }
    EXPECT_TRUE(stands_in_device) << source.path << " is not in inline namespace TILLER_DEVICE";
  }
  EXPECT_GT(kernels, 20);
}

TEST(Style, EnvironmentIsReadInOnePlace) {
  for (const Source& source : sources()) {
    if (source.path == "runtime/env.cpp" || source.folder == "tests") continue;
    for (const std::string& line : source.lines)
      EXPECT_EQ(line.find("getenv("), std::string::npos) << source.path << ": " << line;
  }
}

TEST(Style, EveryFolderHasItsChapter) {
  std::ifstream file(kRoot / "README.md");
  std::stringstream text;
  text << file.rdbuf();
  for (const auto& [folder, allowed] : kMayInclude) {
    EXPECT_TRUE(fs::exists(kRoot / folder / "README.md")) << folder;
    EXPECT_NE(text.str().find("(" + folder + "/README.md)"), std::string::npos)
        << "README.md does not link the chapter of " << folder;
  }
}

// A chapter that names a file names one that exists: `runtime/tensor.h`, `kernels/conv2d/`.
TEST(Style, ChaptersNameFilesThatExist) {
  for (const auto& entry : fs::recursive_directory_iterator(kRoot)) {
    const std::string path = fs::relative(entry.path(), kRoot);
    if (path.rfind("build", 0) == 0 || path.rfind(".git", 0) == 0 || !path.ends_with(".md"))
      continue;
    std::ifstream file(entry.path());
    bool code = false;
    for (std::string line; std::getline(file, line);) {
      if (line.rfind("```", 0) == 0) code = !code;
      if (code) continue;
      for (std::size_t at = line.find('`'); at != std::string::npos;) {
        const std::size_t end = line.find('`', at + 1);
        if (end == std::string::npos) break;
        const std::string name = line.substr(at + 1, end - at - 1);
        const std::string folder = name.substr(0, name.find('/'));
        const bool plain = name.find_first_of(" *<>{}$:[]()") == std::string::npos;
        const bool source = name.ends_with(".h") || name.ends_with(".cpp") || name.ends_with("/");
        const bool ours = plain && source && kMayInclude.contains(folder);
        EXPECT_TRUE(!ours || fs::exists(kRoot / name)) << path << " names " << name;
        at = line.find('`', end + 1);
      }
    }
  }
}

}  // namespace
