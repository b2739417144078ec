// Groups: events that are recorded together or not at all, each lane where it was expected.
#pragma once

#include <cstdint>
#include <google/protobuf/message.h>
#include <string>
#include <vector>

#include "worldbus/settings.hpp"

namespace worldbus {

/// One event of a group. Give ids of your own: a group that is published again with the same ids is recorded once.
struct Draft {
  std::string entity;
  const google::protobuf::Message* event = nullptr;  ///< needs to live during the call only
  std::string id;           ///< 1 to 255 visible ASCII characters; empty: a fresh one
  std::string cause;        ///< id of the event that led to this one
  std::string correlation;  ///< id of the root event of the chain
  std::int64_t time_ns = 0; ///< nanoseconds since 1970; 0: now
};

/// A lane, what one subsystem says about one entity, and where its last event has to be.
struct Expected {
  std::string entity;
  std::uint64_t position = 0;  ///< 0: it has no event
  std::string subsystem;       ///< empty: the client's own
};

/// What became of a group.
struct GroupReceipt {
  Outcome outcome = Outcome::unknown;  ///< recorded, conflict, refused or unknown
  std::uint64_t first = 0;             ///< position of its first event if it is recorded; the others follow one by one
  Expected moved;                      ///< of a conflict: the first lane that is elsewhere, and where it was expected
  std::uint64_t found = 0;             ///< of a conflict: where that lane is, 0 if it has no event
  std::string reason;                  ///< for a person; empty when recorded
};

}  // namespace worldbus
