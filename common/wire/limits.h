// Limits of everything that crosses the wire.  Checked once, in common/wire; code behind it trusts
// its structs.
#ifndef LORIKEET_COMMON_WIRE_LIMITS_H_
#define LORIKEET_COMMON_WIRE_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace lorikeet {

inline constexpr int kMaxCohort = 1 << 16;            // clients of one round
inline constexpr int kMaxNeighbours = 1 << 12;        // boxes, shares, list entries of one client
inline constexpr int kMaxProofHashes = 20;            // Merkle path: 2^20 leaves > kMaxCohort
inline constexpr size_t kMaxSealedShareBytes = 4096;  // one share box
inline constexpr size_t kMaxShareBytes = 1024;        // one revealed share
inline constexpr int64_t kMaxDimension = int64_t{1} << 24;  // elements of one update, padded
inline constexpr size_t kMaxPackedBytes = size_t{1} << 26;  // kMaxDimension elements of 32 bits
inline constexpr int kMinModulusBits = 8;
inline constexpr int kMaxModulusBits = 32;
inline constexpr int kMaxPersonas = 4096;             // of one round
inline constexpr int kMaxCatalogPersonas = 1 << 16;   // of a catalog that routed rounds share
inline constexpr int kMaxOfferedRounds = 1024;        // in one list
inline constexpr int64_t kMaxNoiseSteps = 100000;     // rounds of one central mechanism
inline constexpr size_t kMaxNameBytes = 128;          // names of tasks, releases, devices, files
inline constexpr size_t kMaxDescriptionBytes = 4096;  // an encoded round description
inline constexpr size_t kMaxManifestBytes = size_t{16} << 20;
inline constexpr int kMaxManifestFiles = 64;
inline constexpr int kMaxManifestDeltas = 16;
inline constexpr uint32_t kChunkBytes = 1 << 20;  // release files are hashed in chunks of this size
inline constexpr uint32_t kMaxFetchBytes = 1 << 20;                 // of one FetchChunk
inline constexpr size_t kMaxTokenKeysBytes = 4096;                  // an issuer's published keys
inline constexpr int kMaxLogQueryEntries = kMaxOfferedRounds;       // of one GetLogProof
inline constexpr size_t kMaxMessageBytes = kMaxPackedBytes + 4096;  // any gRPC message

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_WIRE_LIMITS_H_
