// The sender's connection: the thread that owns it reads and writes the socket itself.
//
// The C client would read on one thread, call back on a second and write on a third, which costs more in context switches and in memory freed by
// another thread than it costs to publish. Its hooks for event loops let one thread do all of that, in batches.
#pragma once

#include <chrono>
#include <cstddef>
#include <nats/nats.h>
#include <string>
#include <vector>

#include "connection.hpp"

namespace worldbus {

/// Ends for good when it breaks. All of it is used by one thread at a time: nothing is read or written but in these calls.
class Wire {
 public:
  using Clock = std::chrono::steady_clock;

  /// Throws `Error` when no server answers.
  explicit Wire(const Settings& settings);
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  /// What is said to `subject` comes out of `next`. Once. Throws `Error` if it cannot.
  void hear(const std::string& subject);

  /// Append a message to what `write` will send. False if the connection has ended.
  bool publish(OwnedMessage message);
  /// Send what was appended, as far as the socket takes it without waiting. True if nothing is left over.
  bool write();

  /// Read what has come, without waiting. False if there was nothing.
  bool read(Clock::time_point now);
  /// The next message that was read, good until `tidy`: NATS_TIMEOUT if there is none left, NATS_NO_RESPONDERS for what says that nobody listens.
  natsStatus next(const natsMsg*& message);

  /// Give away messages that are no longer needed: all of them before a nap, else only when there are many.
  void tidy(bool before_a_nap);

  bool ended() const { return natsConnection_IsClosed(connection_.raw()); }
  /// When anything was last read.
  Clock::time_point heard() const { return heard_; }

 private:
  static void driven_by_hand(natsOptions* options, Wire* self);

  natsSock socket_{};
  Clock::time_point heard_ = Clock::now();
  std::vector<OwnedMessage> spent_;
  Owned<natsSubscription, natsSubscription_Destroy> subscription_;  // ends with the connection: to leave it first would be one more thing to send
  Connection connection_;
};

}  // namespace worldbus
