// An event as it is received: who said what about whom, where in the log it stands, and its payload.
#pragma once

#include <cstdint>
#include <google/protobuf/message.h>
#include <string>
#include <string_view>

namespace worldbus {

struct Event {
  std::string world;
  std::string subsystem;  ///< who says it
  std::string entity;     ///< about whom
  std::string name;       ///< the simple name of its type, e.g. `NpcSpoke`
  std::string id;
  std::string type;              ///< the full name of its type
  std::uint64_t position = 0;    ///< in the log, from 1
  std::string_view payload;      ///< valid during the callback

  /// Read the payload as `message`; false if it is of another type or damaged.
  bool read(google::protobuf::Message& message) const {
    return message.GetDescriptor()->full_name() == type && message.ParseFromArray(payload.data(), static_cast<int>(payload.size()));
  }
};

/// A signal: fast, never stored, e.g. the next chunk of a line on `sig.<world>.tokens.<request>`.
struct Signal {
  std::string world;
  std::string kind;
  std::string key;
  std::string_view payload;  ///< valid during the callback

  /// Read the payload as `message`; false if it is damaged.
  bool read(google::protobuf::Message& message) const { return message.ParseFromArray(payload.data(), static_cast<int>(payload.size())); }
};

}  // namespace worldbus
