// What the log says to a publish, and to a look.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace worldbus {

struct LogAnswer {
  enum class Kind : std::uint8_t { stored, later, never };
  Kind kind = Kind::later;      ///< in the log; not now (ask again); never
  std::uint64_t position = 0;   ///< where, if stored
  bool duplicate = false;       ///< whether its id was there before
  std::uint64_t error = 0;      ///< the server's own code for its "no", if it says one
  std::string reason;           ///< for a person, if not stored
};

/// Read `{"stream":"LOG","seq":7,"duplicate":true}` or `{"error":{"code":…,"err_code":…,"description":"…"}}`. Anything else is "later".
LogAnswer read_answer(std::string_view json);

struct LookAnswer {
  enum class Kind : std::uint8_t { found, none, later };
  Kind kind = Kind::later;     ///< here it is; the log has none; not now (ask again)
  std::uint64_t position = 0;  ///< where, if found
  std::string bytes;           ///< the message itself, if found
};

/// Read `{"message":{"subject":"…","seq":7,"hdrs":"…","data":"<Base64>","time":"…"}}` or `{"error":{"code":404,…}}`. Anything else is "later".
LookAnswer read_look(std::string_view json);

}  // namespace worldbus
