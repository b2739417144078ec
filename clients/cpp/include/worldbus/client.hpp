// Publishing to the bus from a game thread, and receiving from it.
//
//   worldbus::Settings settings;              // url and world as WORLDBUS_NATS_URL and WORLDBUS_WORLD say
//   worldbus::Client client(settings);
//
//   worldbus::player::v1::PlayerMoved moved;
//   moved.set_zone("quay");
//   if (client.publish("player-7", moved) != worldbus::Submitted::queued) { /* say so: nothing was taken */ }
//
// `publish` copies the event into a bounded queue and returns: it never waits, takes no lock and makes no system call while the sender is busy. A
// thread of the client sends; what the log answers comes as a receipt. Events of one client are recorded in the order of their tickets, also over
// reconnects; only what the log refused for the moment is sent again later, out of its turn.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <google/protobuf/message.h>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "worldbus/event.hpp"
#include "worldbus/group.hpp"
#include "worldbus/settings.hpp"

namespace worldbus {

/// What became of a call of `publish`. Everything but `queued` means: nothing was taken, no receipt will come.
enum class Submitted : std::uint8_t {
  queued,     ///< a receipt will come
  full,       ///< the queue is full: the log is away or slower than the game. Nothing is dropped silently: count it, or try again
  closed,     ///< the client is closing
  bad_name,   ///< entity or id break the rules for names
  too_large,  ///< the payload is larger than 261120 bytes. What its envelope takes beyond 262144 is refused by its receipt
  bad_event,  ///< the event cannot be written, e.g. text that is not UTF-8 or has a NUL, numbers that are not finite, impossible times
};

const char* to_string(Submitted submitted);
const char* to_string(Outcome outcome);

/// What may be said beside the payload. Views need to live during the call only.
struct About {
  std::string_view id;           ///< 1 to 255 visible ASCII characters; empty: a fresh one. The same id is recorded once (within two minutes)
  std::string_view cause;        ///< id of the event that led to this one
  std::string_view correlation;  ///< id of the root event of the chain
  std::int64_t time_ns = 0;      ///< nanoseconds since 1970; 0: now
  std::int64_t deadline_ns = 0;  ///< when an answer stops being useful, nanoseconds since 1970; 0: never
};

struct Stats {
  std::uint64_t queued = 0;    ///< taken by `publish`
  std::uint64_t recorded = 0;  ///< receipts by outcome; `repeated` counts as recorded
  std::uint64_t refused = 0;
  std::uint64_t unknown = 0;
  std::uint64_t overflowed = 0;  ///< calls of `publish` that said `full`
  std::uint64_t resent = 0;      ///< sendings after the first
  std::uint64_t reconnects = 0;
};

/// A running subscription. Ends when it is destroyed, which must be before its client is.
class Subscription {
 public:
  virtual ~Subscription() = default;
};

class Client {
 public:
  /// Connects. Throws `Error` for settings that cannot work, and when no server answers.
  explicit Client(Settings settings);
  /// Closes at once; what is still under way ends as `unknown`. Call `flush` first to wait for it.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Queue an event about an entity of the world. Thread-safe, never waits. `ticket` is written when it was queued.
  Submitted publish(std::string_view entity, const google::protobuf::Message& event, const About& about = {}, std::uint64_t* ticket = nullptr) noexcept;

  /// Record all of `drafts`, in order and behind one another, or none; at most 1000. Thread-safe, and waits for the log's answer, `give_up` at
  /// most: not for the game's own thread. Has no order with what `publish` queued.
  ///
  /// With `expected`, only if the last event of each of these lanes is at its position, all at the same moment: lanes of the drafts and lanes
  /// that were only read, as many as there are drafts. So a rule over several entities holds, if all who write to them expect them. The same
  /// ids twice are recorded once within two minutes, and for ever where a lane of the drafts is expected.
  GroupReceipt publish_group(const std::vector<Draft>& drafts, const std::vector<Expected>& expected = {});

  /// Wait until everything queued so far has ended. False if that took longer.
  bool flush(std::chrono::milliseconds timeout);

  Stats stats() const;

  /// Hear events of this world as they are recorded, in the order of the log and without gaps, also over reconnects. Empty parts mean any.
  /// `after`: a position; only what comes behind it. -1: only what is new. The callback runs on a thread of the client, and must not throw.
  /// Throws `Error` if the log cannot be read.
  std::unique_ptr<Subscription> subscribe(std::string_view subsystem, std::string_view entity, std::string_view event,
                                          std::function<void(const Event&)> heard, std::int64_t after = -1);

  /// Hear signals `sig.<world>.<kind>.<key>`; an empty key means any, and for the kind `clock` the world's own clock, whose signal has none
  /// (`worldbus.time.v1.PresentMoment`, four times a second). What is said while the connection is broken is not heard.
  std::unique_ptr<Subscription> listen(std::string_view kind, std::string_view key, std::function<void(const Signal&)> heard);

 private:
  class Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace worldbus
