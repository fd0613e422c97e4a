#include "tests/unit/kernels/amx_emulator.h"

#include <immintrin.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace lorikeet {
namespace {

constexpr int kTiles = 8;
constexpr int kRows = 16;
constexpr int kRowBytes = 64;

struct Tile {
  int rows = 0;
  int colsb = 0;
  alignas(64) uint8_t data[kRows][kRowBytes] = {};
};

struct TileFile {
  bool configured = false;
  Tile tiles[kTiles];
};

thread_local TileFile tile_file;
std::atomic<int64_t> configurations, releases, loads, stores, dots;

// Only what may be called in a signal handler.
[[noreturn]] void Fault(const char* what) {
  const auto print = [](const char* text) {
    [[maybe_unused]] const auto written = write(STDERR_FILENO, text, std::strlen(text));
  };
  print("AMX fault: ");
  print(what);
  print("\n");
  std::abort();
}

void Check(bool ok, const char* what) {
  if (!ok) Fault(what);
}

Tile& Valid(int n) {
  Check(tile_file.configured, "no tile is configured");
  Tile& tile = tile_file.tiles[n];
  Check(tile.rows > 0 && tile.colsb > 0, "a tile without rows is used");
  return tile;
}

void ZeroTile(Tile& tile) { std::memset(tile.data, 0, sizeof(tile.data)); }

void LoadConfig(const uint8_t* from) {
  uint8_t bytes[64];
  std::memcpy(bytes, from, sizeof(bytes));
  Check(bytes[0] == 1, "LDTILECFG: palette is not 1");
  Check(bytes[1] == 0, "LDTILECFG: start_row is not 0");
  for (int i = 2; i < 16; ++i) Check(bytes[i] == 0, "LDTILECFG: a reserved byte is not 0");
  for (int i = 32; i < 48; ++i) Check(bytes[i] == 0, "LDTILECFG: colsb beyond tile 7");
  for (int i = 56; i < 64; ++i) Check(bytes[i] == 0, "LDTILECFG: rows beyond tile 7");
  for (int n = 0; n < kTiles; ++n) {
    Tile& tile = tile_file.tiles[n];
    tile.colsb = bytes[16 + 2 * n] | bytes[17 + 2 * n] << 8;
    tile.rows = bytes[48 + n];
    Check(tile.rows <= kRows && tile.colsb <= kRowBytes, "LDTILECFG: a tile is too large");
    Check((tile.rows == 0) == (tile.colsb == 0), "LDTILECFG: rows without columns or the reverse");
    ZeroTile(tile);
  }
  tile_file.configured = true;
  ++configurations;
}

void Release() {
  tile_file = TileFile();
  ++releases;
}

void Load(int n, const uint8_t* base, int64_t stride) {
  Tile& tile = Valid(n);
  ZeroTile(tile);
  for (int r = 0; r < tile.rows; ++r) {
    std::memcpy(tile.data[r], base + r * stride, static_cast<size_t>(tile.colsb));
  }
  ++loads;
}

void Store(int n, uint8_t* base, int64_t stride) {
  const Tile& tile = Valid(n);
  for (int r = 0; r < tile.rows; ++r) {
    std::memcpy(base + r * stride, tile.data[r], static_cast<size_t>(tile.colsb));
  }
  ++stores;
}

typedef uint32_t Pairs __attribute__((vector_size(kRowBytes)));

// Sums of even and of odd k apart, by fused multiply-add, then both and c; denormals are 0,
// rounding is to nearest even.
__attribute__((target("avx512f"))) void Dot(int c_tile, int a_tile, int b_tile) {
  Check(c_tile != a_tile && a_tile != b_tile && b_tile != c_tile, "TDPBF16PS: the same tile twice");
  Tile& c = Valid(c_tile);
  const Tile& a = Valid(a_tile);
  const Tile& b = Valid(b_tile);
  Check(c.colsb % 4 == 0 && a.colsb % 4 == 0 && b.colsb % 4 == 0, "TDPBF16PS: odd columns");
  Check(c.rows == a.rows, "TDPBF16PS: rows of c and a differ");
  Check(c.colsb == b.colsb, "TDPBF16PS: columns of c and b differ");
  Check(a.colsb / 4 == b.rows, "TDPBF16PS: a's columns are not b's rows");
  const unsigned csr = _mm_getcsr();
  _mm_setcsr(0x1f80 | 0x8000 | 0x0040);  // all exceptions masked; FTZ, DAZ
  for (int m = 0; m < c.rows; ++m) {
    __m512 even = {};
    __m512 odd = {};
    for (int k = 0; k < a.colsb / 4; ++k) {
      uint32_t pair;
      std::memcpy(&pair, a.data[m] + 4 * k, sizeof(pair));
      Pairs b_pairs;
      std::memcpy(&b_pairs, b.data[k], sizeof(b_pairs));
      const Pairs a_pairs = pair - Pairs{};
      even = _mm512_fmadd_ps(reinterpret_cast<__m512>(a_pairs << 16),
                             reinterpret_cast<__m512>(b_pairs << 16), even);
      odd = _mm512_fmadd_ps(reinterpret_cast<__m512>(a_pairs & 0xffff0000),
                            reinterpret_cast<__m512>(b_pairs & 0xffff0000), odd);
    }
    __m512 sum;
    std::memcpy(&sum, c.data[m], sizeof(sum));
    sum += even + odd;
    std::memcpy(c.data[m], &sum, static_cast<size_t>(c.colsb));
  }
  _mm_setcsr(csr);
  ++dots;
}

// General register `n` as encoded.
int64_t Register(const ucontext_t& context, int n) {
  static constexpr int kNames[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                     REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                     REG_R12, REG_R13, REG_R14, REG_R15};
  return context.uc_mcontext.gregs[kNames[n]];
}

// A three-byte VEX instruction of map 0f38, its operands taken apart.
struct Instruction {
  int prefix;  // 0 none, 1 66, 2 f3, 3 f2
  int opcode;
  int mod, reg, rm, vvvv;
  bool has_sib = false;
  int64_t address = 0;  // without the index
  int64_t index = 0;    // times the scale
  int length;
};

bool Decode(const ucontext_t& context, const uint8_t* code, Instruction* out) {
  if (code[0] != 0xc4 || (code[1] & 0x1f) != 2 || (code[2] & 0x84) != 0) return false;
  const int x = (code[1] & 0x40) != 0 ? 0 : 8;
  const int b = (code[1] & 0x20) != 0 ? 0 : 8;
  out->prefix = code[2] & 3;
  out->vvvv = ~(code[2] >> 3) & 15;
  out->opcode = code[3];
  out->mod = code[4] >> 6;
  out->reg = (code[4] >> 3 & 7) | ((code[1] & 0x80) != 0 ? 0 : 8);
  out->rm = code[4] & 7;
  out->length = 5;
  if (out->mod == 3) return true;
  int base = out->rm | b;
  int displacement_bytes = out->mod == 1 ? 1 : out->mod == 2 ? 4 : 0;
  bool has_base = true;
  if (out->rm == 4) {
    out->has_sib = true;
    const int sib = code[out->length++];
    base = (sib & 7) | b;
    const int index = (sib >> 3 & 7) | x;
    if (index != 4) out->index = Register(context, index) << (sib >> 6);
    has_base = out->mod != 0 || (sib & 7) != 5;
  } else {
    has_base = out->mod != 0 || out->rm != 5;
  }
  if (!has_base) displacement_bytes = 4;
  if (displacement_bytes == 1) out->address = static_cast<int8_t>(code[out->length]);
  if (displacement_bytes == 4) {
    int32_t displacement;
    std::memcpy(&displacement, code + out->length, sizeof(displacement));
    out->address = displacement;
  }
  out->length += displacement_bytes;
  if (has_base) {
    out->address += Register(context, base);
  } else if (!out->has_sib) {  // relative to the next instruction
    out->address += context.uc_mcontext.gregs[REG_RIP] + out->length;
  }
  return true;
}

// False: not an instruction that is known here.
bool Run(const Instruction& i) {
  const int key = i.opcode << 4 | i.prefix << 1 | (i.mod == 3 ? 1 : 0);
  if (i.reg >= kTiles) return false;
  auto* memory = reinterpret_cast<uint8_t*>(i.address);
  switch (key) {
    case 0x490:
      if (i.reg != 0 || i.vvvv != 0) return false;
      return LoadConfig(memory + i.index), true;
    case 0x491:
      if (i.reg != 0 || i.rm != 0 || i.vvvv != 0) return false;
      return Release(), true;
    case 0x497:
      if (i.rm != 0 || i.vvvv != 0) return false;
      return ZeroTile(Valid(i.reg)), true;
    case 0x4b6:  // and with prefix 66, the hint that data is not used soon again
    case 0x4b2:
      if (!i.has_sib || i.vvvv != 0) return false;
      return Load(i.reg, memory, i.index), true;
    case 0x4b4:
      if (!i.has_sib || i.vvvv != 0) return false;
      return Store(i.reg, memory, i.index), true;
    case 0x5c5:
      if (i.vvvv >= kTiles) return false;
      return Dot(i.reg, i.rm, i.vvvv), true;
    default:
      return false;
  }
}

void OnIllegalInstruction(int, siginfo_t*, void* raw) {
  auto& context = *static_cast<ucontext_t*>(raw);
  auto& rip = context.uc_mcontext.gregs[REG_RIP];
  Instruction instruction;
  if (!Decode(context, reinterpret_cast<const uint8_t*>(rip), &instruction) || !Run(instruction)) {
    Fault("an illegal instruction that is not AMX's, or not known here");
  }
  rip += instruction.length;
}

}  // namespace

AmxEmulator::AmxEmulator() {
  struct sigaction action = {};
  action.sa_sigaction = OnIllegalInstruction;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGILL, &action, &previous_);
}

AmxEmulator::~AmxEmulator() { sigaction(SIGILL, &previous_, nullptr); }

AmxEmulator::Counts AmxEmulator::counts() {
  return {.configurations = configurations,
          .releases = releases,
          .loads = loads,
          .stores = stores,
          .dots = dots};
}

bool AmxEmulator::Configured() { return tile_file.configured; }

}  // namespace lorikeet
