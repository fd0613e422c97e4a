// What gRPC's TLS needs at the end of a process.
#ifndef LORIKEET_COMMON_WIRE_TLS_TEARDOWN_H_
#define LORIKEET_COMMON_WIRE_TLS_TEARDOWN_H_

namespace lorikeet {

// OpenSSL frees its tables when the process exits, unless its first initialization says otherwise.
// gRPC's own threads are not joined by then and may still close a connection: they would crash.
// With this the tables stay until the process is gone.  Call it before anything uses OpenSSL or
// gRPC; it has no effect after that.  Thread-safe.
void KeepTlsTablesAtExit();

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_WIRE_TLS_TEARDOWN_H_
