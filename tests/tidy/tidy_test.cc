// The shape of the code, checked: what ARCHITECTURE.md says of layers and privacy is true of the
// sources.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "tests/tidy/source_tree.h"

namespace lorikeet {
namespace {

const std::vector<std::string> kOwnFolders = {"common", "kernels", "device", "coordinator",
                                              "simulations"};

// A folder may include folders of a lower rank, and itself.
const std::map<std::string, int> kRank = {
    {"common/base", 0},
    {"common/cli", 10},
    {"common/report", 10},
    {"common/sqlite", 10},
    {"common/postgres", 10},
    {"common/crypto", 10},
    {"common/gguf", 10},
    {"kernels", 10},
    {"common/delta", 15},
    {"common/tokenizer", 15},
    {"common/adapter", 15},
    {"common/dp", 15},
    {"common/secagg", 20},
    {"common/tokens", 20},
    {"common/transparency", 20},
    {"common/trust", 20},
    {"common/wire", 30},
    {"device/policy", 40},
    {"device/model", 40},
    {"device/template", 40},
    {"device/vault", 41},
    {"device/runtime", 42},
    {"device/trainer", 43},
    {"device/personalization", 44},
    {"device/retrieval", 45},
    {"device/update", 45},
    {"device/agent", 46},
    {"device/cli", 47},
    {"coordinator/storage", 40},
    {"coordinator/registry", 41},
    {"coordinator/aggregation", 42},
    {"coordinator/distribution", 43},
    {"coordinator/rounds", 44},
    {"coordinator/dashboard", 45},
    {"coordinator/server", 45},
    {"coordinator/metrics", 46},
    {"coordinator/admin", 47},
    {"simulations/audit", 50},
    {"simulations/report", 50},
    {"simulations/world", 50},
    {"simulations/checkers", 51},
    {"simulations/people", 52},
    {"simulations/retrieval", 51},
    {"simulations/selection", 51},
    {"simulations/scenarios", 52},
    {"simulations/cli", 53},
};

// "kernels/simd" belongs to "kernels"; other folders stand for themselves.
std::string LayerOf(const std::string& folder) {
  return folder.starts_with("kernels") ? "kernels" : folder;
}

std::string IncludeOf(const std::string& line) {
  if (!line.starts_with("#include \"")) return "";
  const size_t begin = line.find('"') + 1;
  return line.substr(begin, line.find('"', begin) - begin);
}

TEST(LayersTest, EveryFolderHasARank) {
  for (const auto& file : ReadSources(kOwnFolders, {".h", ".cc"})) {
    EXPECT_TRUE(kRank.contains(LayerOf(file.folder())))
        << file.path << ": give its folder a rank in tests/tidy/tidy_test.cc";
  }
}

TEST(LayersTest, IncludesGoLeftOnly) {
  for (const auto& file : ReadSources(kOwnFolders, {".h", ".cc"})) {
    const std::string from = LayerOf(file.folder());
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::string include = IncludeOf(file.lines[i]);
      const std::string to = LayerOf(std::filesystem::path(include).parent_path().string());
      if (include.empty() || !kRank.contains(to) || !kRank.contains(from)) continue;
      EXPECT_TRUE(to == from || kRank.at(to) < kRank.at(from))
          << file.path << ":" << i + 1 << ": " << from << " must not include " << to;
      const bool device = from.starts_with("device/"),
                 coordinator = from.starts_with("coordinator/");
      EXPECT_FALSE(device && to.starts_with("coordinator/")) << file.path << ":" << i + 1;
      EXPECT_FALSE(coordinator && (to.starts_with("device/") || to == "kernels"))
          << file.path << ":" << i + 1;
    }
  }
}

TEST(LayersTest, NothingIncludesTests) {
  for (const auto& file : ReadSources(kOwnFolders, {".h", ".cc"})) {
    for (size_t i = 0; i < file.lines.size(); ++i) {
      EXPECT_FALSE(IncludeOf(file.lines[i]).starts_with("tests/")) << file.path << ":" << i + 1;
    }
  }
}

TEST(LayersTest, ProtobufStaysAtTheEdges) {
  for (const auto& file : ReadSources(kOwnFolders, {".h", ".cc"})) {
    const bool edge = file.folder() == "common/wire" ||
                      file.path.find("grpc") != std::string::npos ||
                      file.folder() == "coordinator/server";
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const bool protobuf = file.lines[i].find(".pb.h") != std::string::npos;
      const bool grpc = file.lines[i].find("#include <grpc") != std::string::npos;
      EXPECT_TRUE(edge || (!protobuf && !grpc)) << file.path << ":" << i + 1;
    }
  }
}

TEST(LayersTest, SqliteHasOneFile) {
  for (const auto& file : ReadSources(kOwnFolders, {".h", ".cc"})) {
    if (file.path == "common/sqlite/database.cc") continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      EXPECT_EQ(file.lines[i].find("<sqlite3.h>"), std::string::npos) << file.path << ":" << i + 1;
    }
  }
}

TEST(LayersTest, LibpqHasOneFolder) {
  for (const auto& file : ReadSources(kOwnFolders, {".h", ".cc"})) {
    if (file.folder() == "common/postgres") continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      EXPECT_EQ(file.lines[i].find("<libpq-fe.h>"), std::string::npos) << file.path << ":" << i + 1;
    }
  }
}

// Of the update types only MaskedUpdate can be put on the wire, and what is private has no encoding
// at all.
TEST(PrivacyTest, OnlyMaskedUpdateTouchesTheWire) {
  const std::vector<std::string> forbidden = {"PrivateText",    "TokenBatch",   "AdapterDelta",
                                              "CoreDelta",      "ClippedDelta", "EncodedDelta",
                                              "PersonalAdapter"};
  bool saw_masked_update = false;
  std::vector<SourceFile> files =
      ReadSources({"common/wire", "proto", "coordinator"}, {".h", ".cc", ".proto"});
  for (auto& file : ReadSources({"device/agent"}, {".h", ".cc"})) {
    if (file.path.find("grpc") != std::string::npos) files.push_back(std::move(file));
  }
  for (const auto& file : files) {
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::string code = CodeOf(file.lines[i]);
      for (const auto& type : forbidden) {
        EXPECT_FALSE(HasWord(code, type)) << file.path << ":" << i + 1 << ": " << type;
      }
      saw_masked_update |= HasWord(code, "MaskedUpdate");
    }
  }
  EXPECT_TRUE(saw_masked_update) << "the test no longer reads what it means to check";
}

TEST(PrivacyTest, OnlyListedFilesOpenPrivateText) {
  const std::set<std::string> allowed = {
      "device/vault/private_text.h",
      "device/vault/vault.cc",
      "device/vault/vault_search.cc",
      "device/retrieval/passage_index.cc",
      "device/cli/vault_command.cc",
      "device/cli/vault_lookup.cc",
      "device/personalization/private_documents.cc",
  };
  for (const auto& file : ReadSources(kOwnFolders, {".h", ".cc"})) {
    for (size_t i = 0; i < file.lines.size(); ++i) {
      EXPECT_TRUE(!HasWord(CodeOf(file.lines[i]), "TextAccess") || allowed.contains(file.path))
          << file.path << ":" << i + 1 << ": may not open private text; if it must, list it here";
    }
  }
}

TEST(PrivacyTest, OnlyListedFoldersOpenSecrets) {
  const std::set<std::string> allowed = {"common/crypto", "common/secagg", "common/tokens",
                                         "device/vault"};
  for (const auto& file : ReadSources(kOwnFolders, {".h", ".cc"})) {
    for (size_t i = 0; i < file.lines.size(); ++i) {
      EXPECT_TRUE(!HasWord(CodeOf(file.lines[i]), "SecretAccess") ||
                  allowed.contains(file.folder()))
          << file.path << ":" << i + 1
          << ": may not open secrets; if it must, list its folder here";
    }
  }
}

TEST(StyleTest, HeadersAreGuardedByTheirPath) {
  for (const auto& file : ReadSources(kOwnFolders, {".h"})) {
    std::string guard = "LORIKEET_" + file.path + "_";
    for (char& c : guard)
      c = std::isalnum(static_cast<unsigned char>(c)) ? static_cast<char>(std::toupper(c)) : '_';
    bool found = false;
    for (const auto& line : file.lines) found |= line == "#define " + guard;
    EXPECT_TRUE(found) << file.path << ": expected #define " << guard;
  }
}

TEST(StyleTest, HeadersBeginWithAComment) {
  for (const auto& file : ReadSources(kOwnFolders, {".h"})) {
    EXPECT_TRUE(!file.lines.empty() && file.lines[0].starts_with("//")) << file.path;
  }
}

TEST(StyleTest, EveryFolderHasAShortReadme) {
  std::set<std::string> folders;
  for (const auto& file : ReadSources(kOwnFolders, {".h", ".cc"})) folders.insert(file.folder());
  for (const auto& folder : folders) {
    const auto readme = ReadSources({folder}, {"README.md"});
    bool found = false;
    for (const auto& file : readme) {
      if (file.path != folder + "/README.md") continue;
      found = true;
      EXPECT_LE(file.lines.size(), 10u) << file.path;
    }
    EXPECT_TRUE(found) << folder << "/README.md is missing";
  }
}

TEST(StyleTest, NoFileIsTwoIdeas) {
  for (const auto& file : ReadSources(kOwnFolders, {".h", ".cc"})) {
    if (file.folder() == "kernels/simd") continue;
    EXPECT_LE(file.lines.size(), 600u) << file.path << ": split it";
  }
}

}  // namespace
}  // namespace lorikeet
