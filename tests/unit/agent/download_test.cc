// Downloads over links that break, into stores that are killed, onto disks that are full.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "common/base/file.h"
#include "common/delta/make_delta.h"
#include "device/agent/chunk_fetch.h"
#include "device/agent/partial_download.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/agent/agent_fixture.h"

namespace lorikeet {
namespace {

constexpr uint64_t kMegabyte = 1000 * 1000;

std::string RandomContent(size_t bytes) {
  Rng rng(7);
  std::string content(bytes, '\0');
  for (size_t i = 0; i + 8 <= bytes; i += 8) {
    const uint64_t word = rng.Next();
    std::memcpy(content.data() + i, &word, 8);
  }
  return content;
}

// Chunks of several lengths, as tensors make them.
std::vector<uint32_t> UnevenLengths(uint64_t bytes) {
  std::vector<uint32_t> lengths;
  for (uint64_t i = 0; bytes > 0; ++i) {
    lengths.push_back(
        static_cast<uint32_t>(std::min<uint64_t>(bytes, i % 5 == 3 ? 4096 + i : kChunkBytes)));
    bytes -= lengths.back();
  }
  return lengths;
}

class DownloadTest : public testing::Test {
 protected:
  // Answers what `fetch` asks for until all is there or `stop` says so.
  void Fetch(ChunkFetch* fetch, const std::string& content,
             const std::function<bool(const ChunkQuery&)>& arrives) {
    while (const auto query = fetch->Next()) {
      if (!arrives(*query)) continue;
      const absl::Status status =
          fetch->Accept(std::string_view(content).substr(query->offset, query->length));
      ASSERT_TRUE(status.ok()) << status;
    }
  }

  const std::string dir_ = MakeTempDir("download");
  std::unique_ptr<DirectoryAgentStore> store_ = DirectoryAgentStore::Open(dir_).value();
};

// The link breaks after each 20 MB that it has carried, in the middle of whatever is on it.
TEST_F(DownloadTest, ALinkThatBreaksCostsAtMostOnePercent) {
  const std::string content = RandomContent(64 * kMegabyte);
  const ManifestFile file =
      DescribeFile("base.gguf", MemorySource(AsBytes(content)), UnevenLengths(content.size()))
          .value();
  ChunkFetch fetch = ChunkFetch::Create(file, store_.get()).value();
  EXPECT_EQ(fetch.bytes_missing(), content.size());
  uint64_t carried = 0;
  int breaks = 0;
  Fetch(&fetch, content, [&](const ChunkQuery& query) {
    const uint64_t before = carried / (20 * kMegabyte);
    if ((carried + query.length) / (20 * kMegabyte) == before) {
      carried += query.length;
      return true;
    }
    carried = (before + 1) * 20 * kMegabyte;  // what was on its way is lost
    ++breaks;
    return false;
  });
  EXPECT_EQ(breaks, 3);
  EXPECT_LE(carried - content.size(), content.size() / 100) << carried;
  ASSERT_TRUE(store_->FinishFile(file).ok());
  EXPECT_TRUE(*store_->FileContent(file.hash) == content);
}

TEST_F(DownloadTest, OnlyMissingChunksAreAskedForAgain) {
  const std::string content = RandomContent(10 * kChunkBytes + 17);
  const ManifestFile file = DescribeFile("base.gguf", AsBytes(content));
  for (const size_t chunk : {7, 0, 10, 3}) {
    ASSERT_TRUE(
        store_->WriteChunk(file, chunk, content.substr(chunk * kChunkBytes, kChunkBytes)).ok());
  }
  ChunkFetch fetch = ChunkFetch::Create(file, store_.get()).value();
  EXPECT_EQ(fetch.bytes_missing(), 7u * kChunkBytes);
  uint64_t asked = 0;
  Fetch(&fetch, content, [&](const ChunkQuery& query) {
    asked += query.length;
    return true;
  });
  EXPECT_EQ(asked, 7u * kChunkBytes);
  EXPECT_TRUE(store_->FinishFile(file).ok());
}

TEST_F(DownloadTest, AWrongPieceCostsItsChunkOnly) {
  const std::string content = RandomContent(2 * kChunkBytes);
  const ManifestFile file = DescribeFile("base.gguf", AsBytes(content));
  ChunkFetch fetch = ChunkFetch::Create(file, store_.get()).value();
  EXPECT_TRUE(absl::IsDataLoss(fetch.Accept("too short")));
  while (fetch.Next()->offset < kChunkBytes + 2 * kPieceBytes) {
    const auto query = fetch.Next();
    ASSERT_TRUE(fetch.Accept(std::string_view(content).substr(query->offset, query->length)).ok());
  }
  absl::Status status;
  while (status.ok()) status = fetch.Accept(std::string(kPieceBytes, 'x'));
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_EQ(fetch.Next()->offset, kChunkBytes) << "the second chunk from its beginning";
}

// Killed at any instant: each chunk that counts as there is there, and the rest comes later.
TEST_F(DownloadTest, KilledAtAnyInstant) {
  const std::string content = RandomContent(100 * 5000 + 3);
  const ManifestFile file = DescribeFile("base.gguf", MemorySource(AsBytes(content)),
                                         [] {
                                           std::vector<uint32_t> lengths(100, 5000);
                                           lengths.push_back(3);
                                           return lengths;
                                         }())
                                .value();
  const std::vector<uint64_t> offsets = file.ChunkOffsets();
  const auto write_missing = [&] {
    const auto present = store_->ChunksPresent(file).value();
    for (size_t i = 0; i < present.size(); ++i) {
      const auto chunk = content.substr(offsets[i], file.ChunkLength(i));
      if (!present[i] && !store_->WriteChunk(file, i, chunk).ok()) _exit(1);
    }
  };
  Rng rng(3);
  size_t seen = 0;
  for (int kill_count = 0; kill_count < 40; ++kill_count) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      write_missing();
      _exit(0);
    }
    usleep(static_cast<useconds_t>(rng.Below(4000)));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    const auto present = store_->ChunksPresent(file);
    ASSERT_TRUE(present.ok()) << present.status();
    const size_t there = static_cast<size_t>(std::ranges::count(*present, true));
    EXPECT_GE(there, seen) << "what was there stays";
    seen = there;
    if (there == 0) continue;
    const std::string part = ReadFile(store_->FilePath(file.hash) + ".part").value();
    for (size_t i = 0; i < present->size(); ++i) {
      const auto chunk = AsBytes(part).subspan(offsets[i], file.ChunkLength(i));
      ASSERT_TRUE(!(*present)[i] || VerifyFileChunk(file, i, chunk).ok()) << i;
    }
  }
  write_missing();
  ASSERT_TRUE(store_->FinishFile(file).ok());
  EXPECT_TRUE(*store_->FileContent(file.hash) == content);
}

// Bits on the disk that were lost in a power failure, say.
TEST_F(DownloadTest, ChunksThatDidNotStayAreFetchedAgainAlone) {
  const std::string content = RandomContent(3 * kChunkBytes);
  const ManifestFile file = DescribeFile("base.gguf", AsBytes(content));
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(store_->WriteChunk(file, i, content.substr(i * kChunkBytes, kChunkBytes)).ok());
  }
  const int part = open((store_->FilePath(file.hash) + ".part").c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(pwrite(part, "zeros", 5, kChunkBytes + 99), 5);
  close(part);
  EXPECT_TRUE(absl::IsDataLoss(store_->FinishFile(file)));
  EXPECT_EQ(*store_->ChunksPresent(file), std::vector<bool>({true, false, true}));
  ASSERT_TRUE(store_->WriteChunk(file, 1, content.substr(kChunkBytes, kChunkBytes)).ok());
  EXPECT_TRUE(store_->FinishFile(file).ok());
}

// A map of another cut of the same file says nothing.
TEST_F(DownloadTest, AnotherPlanStartsAfresh) {
  const std::string content = RandomContent(2 * kChunkBytes);
  const ManifestFile file = DescribeFile("base.gguf", AsBytes(content));
  ASSERT_TRUE(store_->WriteChunk(file, 0, content.substr(0, kChunkBytes)).ok());
  const ManifestFile recut =
      DescribeFile("base.gguf", MemorySource(AsBytes(content)), {5, 2 * kChunkBytes - 5}).value();
  EXPECT_EQ(*store_->ChunksPresent(recut), std::vector<bool>({false, false}));
}

// A limit on the size of files stands for a full disk: the room is asked for before the first byte.
TEST_F(DownloadTest, AFullDiskIsSaidBeforeTheFirstChunkAndLosesNothing) {
  const std::string content = RandomContent(2 * kChunkBytes);
  const ManifestFile file = DescribeFile("base.gguf", AsBytes(content));
  rlimit old_limit;
  getrlimit(RLIMIT_FSIZE, &old_limit);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {.rlim_cur = kChunkBytes + 100, .rlim_max = old_limit.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const absl::Status full = store_->WriteChunk(file, 0, content.substr(0, kChunkBytes));
  setrlimit(RLIMIT_FSIZE, &old_limit);
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  EXPECT_THAT(std::string(Message(full)), testing::HasSubstr("base.gguf takes 2097152 bytes"));
  EXPECT_FALSE(FileExists(store_->FilePath(file.hash) + ".part"));
  // In the middle of a download only the chunk that did not fit is missing.
  ASSERT_TRUE(store_->WriteChunk(file, 0, content.substr(0, kChunkBytes)).ok());
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_TRUE(absl::IsResourceExhausted(
      store_->WriteChunk(file, 1, content.substr(kChunkBytes, kChunkBytes))));
  setrlimit(RLIMIT_FSIZE, &old_limit);
  signal(SIGXFSZ, old_handler);
  EXPECT_EQ(*store_->ChunksPresent(file), std::vector<bool>({true, false}));
  ASSERT_TRUE(store_->WriteChunk(file, 1, content.substr(kChunkBytes, kChunkBytes)).ok());
  EXPECT_TRUE(store_->FinishFile(file).ok());
}

// A device with the first version is offered the second with a delta.
class DeltaReleaseTest : public AgentTest {
 protected:
  DeltaReleaseTest() {
    options_.base_fingerprint = "";
    const TinyModelOptions first, second{.seed = 2};
    old_.kind = new_.kind = ReleaseKind::kBase;
    old_.content = TinyModelBytes(first);
    new_.content = TinyModelBytes(second);
    new_.version = 2;
    EXPECT_TRUE(MakeDelta(WriteTinyModel(first), WriteTinyModel(second), {},
                          [&](std::span<const uint8_t> bytes) {
                            delta_ += AsChars(bytes);
                            return absl::OkStatus();
                          })
                    .ok());
  }

  SignedManifest Offer() const {
    Manifest manifest = ParseManifest(Sign(new_).manifest).value();
    manifest.deltas = {{.from = old_.File().hash,
                        .to = new_.File().hash,
                        .file = DescribeFile("base.delta", AsBytes(delta_))}};
    return SignManifest(manifest, key_);
  }
  // What is asked for, until the base is there.
  uint64_t AnswerChunks() {
    uint64_t bytes = 0;
    while (const auto* query = Requested<ChunkQuery>()) {
      const std::string& content = query->file_hash == new_.File().hash ? new_.content : delta_;
      bytes += query->length;
      AnswerOk(ChunkResult{content.substr(query->offset, query->length), content.size()});
    }
    return bytes;
  }
  void InstallFirst() {
    MakeAgent();
    Start();
    AnswerHello();
    AnswerRelease(old_);
    AnswerBaseChecked({.healthy = true, .summary = "fine"});
    ASSERT_TRUE(agent_->state().base);
    ASSERT_TRUE(store_.HasFile(old_.File().hash));
  }
  void OfferSecond() {
    MakeAgent();
    Start();
    AnswerHello();
    AnswerOk(Offer());
  }

  TestRelease old_, new_;
  std::string delta_;
};

TEST_F(DeltaReleaseTest, TheDeltaIsFetchedInsteadOfTheFile) {
  InstallFirst();
  OfferSecond();
  EXPECT_EQ(AnswerChunks(), delta_.size());
  ASSERT_TRUE(check_base_);
  EXPECT_EQ(check_base_->candidate.version, 2u);
  EXPECT_THAT(Reports("release"), testing::HasSubstr("as a delta"));
  EXPECT_TRUE(*store_.FileContent(new_.File().hash) == new_.content);
}

TEST_F(DeltaReleaseTest, WithoutTheOldFileTheNewOneIsFetchedWhole) {
  OfferSecond();
  EXPECT_EQ(AnswerChunks(), new_.content.size());
  ASSERT_TRUE(check_base_);
  EXPECT_EQ(check_base_->candidate.version, 2u);
}

// Signed, but of no use: the publisher's mistake must not keep devices from the release.
TEST_F(DeltaReleaseTest, ADeltaThatDoesNotGiveTheFileIsReplacedByIt) {
  InstallFirst();
  delta_[delta_.size() / 2] ^= 1;
  OfferSecond();
  EXPECT_EQ(AnswerChunks(), delta_.size() + new_.content.size());
  ASSERT_TRUE(check_base_);
  EXPECT_TRUE(*store_.FileContent(new_.File().hash) == new_.content);
}

}  // namespace
}  // namespace lorikeet
