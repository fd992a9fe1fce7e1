#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>

#include "runtime/files/atomic_file.h"
#include "runtime/files/mapped_file.h"
#include "tests/runtime/files_util.h"

namespace tiller {
namespace {

using testing::error_of;
using ::testing::HasSubstr;
using testing::read_bytes;
using testing::TemporaryFolder;

std::string text_of(const std::string& path) {
  const testing::Bytes bytes = read_bytes(path);
  return {bytes.begin(), bytes.end()};
}

TEST(AtomicFile, AppearsWholeOrNotAtAll) {
  const TemporaryFolder folder;
  {
    AtomicFile file(folder / "a");
    file.write("hello world");
    file.patch(6, "W", 1);
    EXPECT_EQ(file.position(), 11u);
    EXPECT_FALSE(std::filesystem::exists(folder / "a"));
    file.commit();
  }
  EXPECT_EQ(text_of(folder / "a"), "hello World");
  { AtomicFile(folder / "a").write("lost"); }
  EXPECT_EQ(text_of(folder / "a"), "hello World");
  EXPECT_EQ(folder.entries(), 1u);
}

// Killed in the middle, as by Ctrl-C: no destructor runs.
TEST(AtomicFile, AKilledProgramLeavesNothing) {
  const TemporaryFolder folder;
  const int probe = open((folder / ".").c_str(), O_WRONLY | O_TMPFILE, 0600);
  if (probe < 0) GTEST_SKIP() << "this file system has no files without a name";
  close(probe);
  const pid_t child = fork();
  if (child == 0) {
    AtomicFile file(folder / "a");
    file.write("half of it");
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(AtomicFile, FollowsLinksAndKeepsPermissions) {
  const TemporaryFolder folder;
  std::ofstream(folder / "real") << "old";
  chmod((folder / "real").c_str(), 0640);
  std::filesystem::create_symlink("real", folder / "link");
  AtomicFile file(folder / "link");
  file.write("new");
  file.commit();
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(text_of(folder / "real"), "new");
  struct stat status {};
  stat((folder / "real").c_str(), &status);
  EXPECT_EQ(status.st_mode & 0777u, 0640u);
}

TEST(AtomicFile, SaysWhyItCannotWrite) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { AtomicFile(folder / "missing/a"); }), HasSubstr("does not exist"));
  EXPECT_THAT(error_of([&] { AtomicFile(folder / "."); }), HasSubstr("Is a directory"));
  EXPECT_THAT(error_of([&] { AtomicFile("/dev/full").write("x"); }), HasSubstr("No space left"));
  AtomicFile null("/dev/null");  // a device is written in place, never replaced
  null.write("x");
  null.commit();
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  AtomicFile file(folder / "a");
  EXPECT_THAT(error_of([&] { file.patch(0, "x", 1); }), HasSubstr("not written yet"));
}

TEST(AtomicFile, LimitOnFileSizesLeavesTheOldFile) {
  const TemporaryFolder folder;
  std::ofstream(folder / "a") << "old";
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{1000, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string message =
      error_of([&] { AtomicFile(folder / "a").write(std::string(5000, 'x')); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(message, HasSubstr("File too large"));
  EXPECT_EQ(text_of(folder / "a"), "old");
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(MappedFile, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  std::ofstream(folder / "empty");
  EXPECT_THAT(error_of([&] { MappedFile::open(folder / "none"); }), HasSubstr("no such file"));
  EXPECT_THAT(error_of([&] { MappedFile::open(folder / "empty"); }), HasSubstr("empty"));
  EXPECT_THAT(error_of([&] { MappedFile::open(folder / "."); }), HasSubstr("folder"));
  ErrorKind kind{};
  error_of([&] { MappedFile::open("/dev/null", ErrorKind::failed); }, &kind);
  EXPECT_EQ(kind, ErrorKind::failed);
}

}  // namespace
}  // namespace tiller
