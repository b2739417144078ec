// How a client is to work. Values; the environment says where the bus is, unless the program does.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>

namespace worldbus {

/// The client could not be made: what was wanted, what was found, the next step.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// How a publish ended. Exactly one receipt is given for each event that was queued.
enum class Outcome : std::uint8_t {
  recorded,  ///< in the log, at `position`
  repeated,  ///< an event of this id was in the log already, at `position`; nothing was added
  refused,   ///< not in the log, and the same event never will be: see `reason`
  unknown,   ///< no answer until `give_up`: it may be in the log. Publish it again with the same id within two minutes to be sure
  conflict,  ///< of a group alone: not in the log, since a lane is not at the position where it was expected. Look again, and decide again
};

struct Receipt {
  std::uint64_t ticket = 0;  ///< what `publish` gave out
  std::string id;            ///< the event's id
  Outcome outcome = Outcome::unknown;
  std::uint64_t position = 0;  ///< in the log, from 1; 0 if it is not known to be there
  std::string reason;          ///< for a person; empty when recorded
};

/// A setting of the environment, as `eval "$(worldbus env)"` leaves it, or something else where it is not there.
inline std::string from_environment(const char* name, const char* otherwise) {
  const char* found = std::getenv(name);
  return found != nullptr && *found != '\0' ? found : otherwise;
}

struct Settings {
  /// One or several, separated by commas; by default what WORLDBUS_NATS_URL says, or a server without a password on this machine.
  std::string url = from_environment("WORLDBUS_NATS_URL", "nats://127.0.0.1:4222");
  std::string world = from_environment("WORLDBUS_WORLD", "");  ///< 1 to 64 of A-Z a-z 0-9 _ -; by default what WORLDBUS_WORLD says
  std::string subsystem = "game";             ///< who says it, as the server's permissions allow
  std::string name = "worldbus-cpp";          ///< shown in the server's list of connections
  std::string credentials;                    ///< path of a .creds file; empty for none
  std::string log = "LOG";                    ///< name of the stream

  std::size_t queue = 65536;     ///< events that may wait to be sent, rounded up to a power of two; beyond that `publish` says `full`
  std::size_t in_flight = 4096;  ///< events that may wait for the log's answer

  std::chrono::milliseconds answer_timeout{5000};  ///< without an answer for so long, it is sent again with the same id
  /// Without any answer for so long since it was first sent, it ends as `unknown`; below the log's memory of two minutes. What waits in the queue
  /// was not sent: it waits as long as the server is away, and goes out when that is back.
  std::chrono::milliseconds give_up{30000};

  /// Told how each publish ended, on a thread of the client, in no promised order. Be quick, and do not throw.
  std::function<void(const Receipt&)> on_receipt;
  /// Told when the connection breaks (false) and stands again (true), on a thread of the client.
  std::function<void(bool)> on_connected;
};

}  // namespace worldbus
