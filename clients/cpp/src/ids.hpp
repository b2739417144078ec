// Fresh ids: 10 characters of milliseconds, 12 of randomness, 4 of a count, so that they sort by time (the ULID layout, lower case).
#pragma once

#include <cstdint>
#include <string>

namespace worldbus {

/// Used by one thread.
class Ids {
 public:
  Ids();
  /// The next id, of 26 characters. Two processes that share a millisecond differ in 60 random bits.
  void next(std::int64_t now_ns, std::string& into);

 private:
  std::int64_t millis_ = -1;
  std::uint64_t random_ = 0;
  std::uint32_t count_ = 0;
};

}  // namespace worldbus
