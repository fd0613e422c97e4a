#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <numeric>
#include <thread>

#include "common/base/atomic_file.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/hash.h"
#include "common/base/plain_text.h"
#include "common/base/random.h"
#include "common/base/shrink_guard.h"
#include "common/base/strings.h"
#include "common/base/tensor_type.h"
#include "common/base/thread_pool.h"
#include "common/base/utf8.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

// RFC 7693 gives BLAKE2b-512; this is the 256-bit digest of "abc" from the BLAKE2 reference
// implementation.
TEST(HashTest, KnownDigest) {
  EXPECT_EQ(ToHex(Blake2b(AsBytes("abc"))),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

TEST(HashTest, HexRoundTripAndRejects) {
  const Hash256 hash = Blake2b(AsBytes("x"));
  EXPECT_EQ(HashFromHex(ToHex(hash)).value(), hash);
  EXPECT_FALSE(FromHex("abc").ok());
  EXPECT_FALSE(FromHex("zz").ok());
  EXPECT_FALSE(HashFromHex("00ff").ok());
}

TEST(SeededRandomTest, SameSeedSameBytesWhateverTheCallSizes) {
  SeededRandom a("t", 7), b("t", 7), c("t", 8);
  std::vector<uint8_t> x(10000), y(10000), z(10000);
  a.Fill(x);
  for (size_t i = 0; i < y.size(); i += 100) b.Fill(std::span(y).subspan(i, 100));
  c.Fill(z);
  EXPECT_EQ(x, y);
  EXPECT_NE(x, z);
}

TEST(RngTest, StateResumes) {
  Rng rng(3);
  for (int i = 0; i < 10; ++i) rng.Next();
  Rng other(99);
  other.set_state(rng.state());
  EXPECT_EQ(rng.Next(), other.Next());
}

TEST(RngTest, NormalHasUnitVariance) {
  Rng rng(5);
  double sum = 0, squares = 0;
  constexpr int kN = 200000;
  for (int i = 0; i < kN; ++i) {
    const double x = rng.Normal();
    sum += x;
    squares += x * x;
  }
  // Seeded, so this cannot flake; bounds are 8 standard errors.
  EXPECT_NEAR(sum / kN, 0, 8 / std::sqrt(kN));
  EXPECT_NEAR(squares / kN, 1, 8 * std::sqrt(2.0 / kN));
}

TEST(FileTest, AtomicWriteReplacesWholeAndKeepsOldOnError) {
  const std::string dir = MakeTempDir("base");
  const std::string path = dir + "/f";
  ASSERT_TRUE(WriteFileAtomic(path, "one").ok());
  ASSERT_TRUE(WriteFileAtomic(path, "two").ok());
  EXPECT_EQ(ReadFile(path).value(), "two");
  EXPECT_EQ(WriteFileAtomic(dir + "/none/f", "x").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadFile(path, 2).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir), {}), 1);
}

TEST(FileTest, ADeviceIsWrittenToAndNotReplaced) {
  const std::string path = MakeTempDir("base") + "/pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  const int reader = open(path.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_TRUE(WriteFileAtomic(path, "through").ok());
  char buffer[16];
  EXPECT_EQ(read(reader, buffer, sizeof(buffer)), 7);
  close(reader);
  EXPECT_TRUE(std::filesystem::is_fifo(path));
}

TEST(FileTest, MapsAndReportsMissing) {
  const std::string path = MakeTempDir("base") + "/f";
  ASSERT_TRUE(WriteFileAtomic(path, "mapped").ok());
  EXPECT_EQ(AsChars(MappedFile::Open(path).value()->bytes()), "mapped");
  EXPECT_EQ(MappedFile::Open(path + "x").status().code(), absl::StatusCode::kNotFound);
}

// Large enough for huge pages: just written, so that dropping what is cached is tried, twice.
TEST(FileTest, MapsALargeFileAsItWasWritten) {
  const std::string path = MakeTempDir("base") + "/large";
  std::string content(size_t{66} << 20, '\0');
  for (size_t i = 0; i < content.size(); i += 251) content[i] = static_cast<char>(i / 251 % 256);
  ASSERT_TRUE(WriteFileAtomic(path, content).ok());
  const auto first = MappedFile::Open(path).value();
  EXPECT_TRUE(AsChars(first->bytes()) == content);
  EXPECT_TRUE(AsChars(MappedFile::Open(path).value()->bytes()) == content);
}

TEST(FileLockTest, SecondHolderIsRefusedUntilTheFirstLetsGo) {
  const std::string path = MakeTempDir("base") + "/lock";
  auto first = FileLock::Acquire(path);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(FileLock::Acquire(path).status().code(), absl::StatusCode::kAlreadyExists);
  first->reset();
  EXPECT_TRUE(FileLock::Acquire(path).ok());
  EXPECT_FALSE(FileLock::Acquire(path + "/none/lock").ok());
}

TEST(PlainTextTest, RefusesWhatSteersATerminal) {
  EXPECT_TRUE(CheckPlainText("short, \xc3\xa9 and \xf0\x9f\xa6\x9c", 100).ok());
  const auto error = [](std::string_view text) {
    return std::string(CheckPlainText(text, 12).message());
  };
  EXPECT_EQ(error("a\x1b[2J"), "expected plain text, got control character U+001B at position 1");
  EXPECT_EQ(error("ab\n"), "expected plain text, got control character U+000A at position 2");
  EXPECT_EQ(error("\x7f"), "expected plain text, got control character U+007F at position 0");
  EXPECT_EQ(error("\xc2\x9b"), "expected plain text, got control character U+009B at position 0");
  EXPECT_EQ(error("\xe2\x80\xae"),
            "expected plain text, got control character U+202E at position 0");
  EXPECT_EQ(error("x\xe2\x82"), "expected plain text in UTF-8, got byte 0xe2 at position 1");
  EXPECT_EQ(error("thirteen byte"), "expected plain text of at most 12 bytes, got 13");
}

TEST(PlainTextTest, PrintableKeepsLinesAndTextOnly) {
  EXPECT_EQ(Printable("a\tb\n\xc3\xa9"), "a\tb\n\xc3\xa9");
  EXPECT_EQ(Printable("\x1b]0;t\x07\r\xc2\x9b\xe2\x80\xae.\xff"), "?]0;t????.?");
}

TEST(Utf8Test, FindsTheFirstBadByte) {
  EXPECT_EQ(FindInvalidUtf8("plain, \xc3\xa9, \xe2\x82\xac, \xf0\x9f\xa6\x9c"), std::nullopt);
  EXPECT_EQ(FindInvalidUtf8("ab\xff"), 2u);
  EXPECT_EQ(FindInvalidUtf8("\xc0\xaf"), 0u);          // overlong
  EXPECT_EQ(FindInvalidUtf8("\xed\xa0\x80"), 0u);      // surrogate
  EXPECT_EQ(FindInvalidUtf8("\xf4\x90\x80\x80"), 0u);  // over U+10FFFF
  EXPECT_EQ(FindInvalidUtf8("x\xe2\x82"), 1u);         // cut off
}

TEST(ThreadPoolTest, CoversEveryIndexOnce) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int64_t count : {0, 1, 7, 1000}) {
      std::vector<std::atomic<int>> seen(count);
      for (int repeat = 0; repeat < 200; ++repeat) {
        pool.ParallelFor(count, 3, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) ++seen[i];
        });
      }
      for (auto& n : seen) EXPECT_EQ(n, 200);
    }
  }
}

TEST(ThreadPoolTest, RangesBeginAtMultiplesOfTheGrain) {
  ThreadPool pool(3);
  for (int64_t grain : {1, 3, 64}) {
    for (int64_t count : {1, 64, 1000, 100000}) {
      std::atomic<int64_t> covered = 0;
      pool.ParallelFor(count, grain, [&](int64_t begin, int64_t end) {
        EXPECT_EQ(begin % grain, 0);
        EXPECT_TRUE(end == count || end % grain == 0) << end << " of " << count;
        EXPECT_LT(begin, end);
        covered += end - begin;
      });
      EXPECT_EQ(covered, count);
    }
  }
}

// A thread that does not get on holds up its own piece only: the others do the rest meanwhile.
TEST(ThreadPoolTest, OthersTakeOverFromAThreadThatHangs) {
  ThreadPool pool(2);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::atomic<int64_t> done = 0;
    std::atomic<int64_t> hung = 0;
    pool.ParallelFor(64, 1, [&](int64_t begin, int64_t end) {
      if (hung.fetch_add(1) == 0) {
        while (done < 64 - (end - begin)) std::this_thread::yield();
      }
      done += end - begin;
    });
    EXPECT_EQ(done, 64);
  }
}

TEST(ThreadPoolTest, WakesUpAfterRests) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum = 0;
  for (int i = 0; i < 30; ++i) {
    pool.ParallelFor(10, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
    std::this_thread::sleep_for(std::chrono::microseconds(i * 20));
  }
  EXPECT_EQ(sum, 300);
}

TEST(TensorTypeTest, NamesAndSizes) {
  EXPECT_EQ(ParseTensorType("q4_0"), TensorType::kQ4_0);
  EXPECT_EQ(ParseTensorType("nope"), std::nullopt);
  EXPECT_EQ(RowBytes(TensorType::kQ8_0, 64), 68);
  EXPECT_EQ(FindTensorType(99), nullptr);
}

// Not in this process: the handler would outlive the test.
TEST(ShrinkGuardDeathTest, NamesTheFileAndLeavesOtherFaultsAlone) {
  const std::string path = MakeTempDir("shrink") + "/mapped";
  ASSERT_TRUE(WriteFileAtomic(path, std::string(10000, 'x')).ok());
  const auto touch_after_cut = [&] {
    InstallShrinkGuard("test");
    const auto mapped = MappedFile::Open(path).value();
    if (truncate(path.c_str(), 100) != 0) _exit(9);
    volatile uint8_t last = mapped->bytes()[9999];
    static_cast<void>(last);
  };
  EXPECT_EXIT(touch_after_cut(), testing::ExitedWithCode(1),
              "test: .*mapped shrank while in use: expected 10000 bytes, has 100");
  const auto another_bus_error = [&] {
    signal(SIGBUS, SIG_DFL);  // not a sanitizer's handler
    InstallShrinkGuard("test");
    raise(SIGBUS);
  };
  EXPECT_EXIT(another_bus_error(), testing::KilledBySignal(SIGBUS), "");
}

TEST(AtomicFileTest, AppearsWholeOrNotAtAll) {
  const std::string path = MakeTempDir("atomic") + "/file";
  {
    const auto file = AtomicFile::Create(path).value();
    ASSERT_TRUE(file->Append("half").ok());
    EXPECT_FALSE(FileExists(path));
  }
  EXPECT_FALSE(FileExists(path));
  EXPECT_TRUE(std::filesystem::is_empty(std::filesystem::path(path).parent_path()));
  const auto file = AtomicFile::Create(path).value();
  ASSERT_TRUE(file->Append("both ").ok());
  ASSERT_TRUE(file->Append("halves").ok());
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(ReadFile(path).value(), "both halves");
  EXPECT_FALSE(AtomicFile::Create("/nowhere/file").ok());
}

}  // namespace
}  // namespace lorikeet
