// How a client is to work. Values; nothing here reads the environment.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
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

struct Settings {
  std::string url = "nats://127.0.0.1:4222";  ///< one or several, separated by commas
  std::string world;                          ///< 1 to 64 of A-Z a-z 0-9 _ -
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
