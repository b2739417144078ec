// The envelope: one CloudEvents 1.0 protobuf message per event, written by hand in a fixed order, as `bus/envelope.py` writes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace worldbus {

constexpr std::size_t kMaxEvent = 262144;  // bytes, envelope included

struct Envelope {
  std::string_view id;
  std::string_view subsystem;
  std::string_view type;  // full name
  std::string_view world;
  std::string_view entity;
  std::string_view cause;
  std::string_view correlation;
  std::int64_t time_ns = 0;
  std::int64_t deadline_ns = 0;
  std::string_view payload;
};

/// Write the bytes of one event into `out`, which is cleared. Equal envelopes give equal bytes.
void encode(const Envelope& envelope, std::string& out);

}  // namespace worldbus
