#include "common/base/shrink_guard.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "absl/base/const_init.h"
#include "absl/synchronization/mutex.h"

namespace lorikeet {
namespace {

constexpr size_t kMaxMappings = 256;
constexpr size_t kMaxPath = 1024;

// The handler reads without a lock: `data` is set last and cleared first.
struct Mapping {
  std::atomic<const uint8_t*> data{nullptr};
  std::atomic<size_t> size{0};
  char path[kMaxPath] = {};
};
static_assert(std::atomic<const uint8_t*>::is_always_lock_free, "used in a signal handler");

ABSL_CONST_INIT absl::Mutex mutex(absl::kConstInit);  // of writers
Mapping mappings[kMaxMappings];
char program_name[64] = {};
struct sigaction previous_action = {};

// A line put together without allocating; snprintf is not async-signal-safe.
class Line {
 public:
  void Text(const char* text) {
    while (*text != '\0' && used_ < sizeof(bytes_)) bytes_[used_++] = *text++;
  }
  void Number(uint64_t value) {
    char digits[21];
    char* at = digits + sizeof(digits) - 1;
    *at = '\0';
    do {
      *--at = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value > 0);
    Text(at);
  }
  void Print() const {
    const ssize_t ignored = write(STDERR_FILENO, bytes_, used_);
    static_cast<void>(ignored);
  }

 private:
  char bytes_[kMaxPath + 256];
  size_t used_ = 0;
};

const Mapping* FindMapping(const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  for (const Mapping& mapping : mappings) {
    const auto begin = reinterpret_cast<uintptr_t>(mapping.data.load(std::memory_order_acquire));
    // Faults come by pages: the last one may reach behind the file's end.
    if (begin != 0 && at >= begin && at - begin < mapping.size.load()) return &mapping;
  }
  return nullptr;
}

[[noreturn]] void ReportAndExit(const Mapping& mapping) {
  struct stat info;
  Line line;
  line.Text(program_name);
  line.Text(": ");
  line.Text(mapping.path);
  line.Text(" shrank while in use: expected ");
  line.Number(mapping.size.load());
  line.Text(" bytes, ");
  if (stat(mapping.path, &info) == 0) {
    line.Text("has ");
    line.Number(static_cast<uint64_t>(info.st_size));
  } else {
    line.Text("is gone");
  }
  line.Text("\n");
  line.Print();
  _exit(1);
}

void OnBusError(int, siginfo_t* info, void*) {
  const bool fault = info->si_code == BUS_ADRERR;
  const Mapping* mapping = fault ? FindMapping(info->si_addr) : nullptr;
  if (mapping != nullptr) ReportAndExit(*mapping);
  // Not ours: a fault happens again on return and finds the earlier handler; what was sent to the
  // process is sent again.
  sigaction(SIGBUS, &previous_action, nullptr);
  if (info->si_code <= 0) raise(SIGBUS);
}

void CopyText(std::string_view text, char* to, size_t capacity) {
  const size_t count = std::min(text.size(), capacity - 1);
  std::memcpy(to, text.data(), count);
  to[count] = '\0';
}

}  // namespace

void InstallShrinkGuard(std::string_view program) {
  CopyText(program, program_name, sizeof(program_name));
  struct sigaction action = {};
  action.sa_sigaction = OnBusError;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &previous_action);
}

void GuardMapping(const uint8_t* data, size_t size, const std::string& path) {
  absl::MutexLock lock(&mutex);
  for (Mapping& mapping : mappings) {
    if (mapping.data.load(std::memory_order_relaxed) != nullptr) continue;
    CopyText(path, mapping.path, sizeof(mapping.path));
    mapping.size.store(size);
    mapping.data.store(data, std::memory_order_release);
    return;
  }
}

void UnguardMapping(const uint8_t* data) {
  absl::MutexLock lock(&mutex);
  for (Mapping& mapping : mappings) {
    if (mapping.data.load(std::memory_order_relaxed) == data) {
      mapping.data.store(nullptr, std::memory_order_release);
    }
  }
}

}  // namespace lorikeet
