// The thread that sends what is queued and takes the log's answers.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "answers.hpp"
#include "flight.hpp"
#include "ids.hpp"
#include "ring.hpp"
#include "wire.hpp"
#include "worldbus/client.hpp"

namespace worldbus {

/// What `publish` leaves in the queue. The texts keep their memory from one use of the cell to the next, and have some from the start.
struct Queued {
  Queued() {
    entity.reserve(64);
    payload.reserve(128);
  }

  std::uint64_t ticket = 0;
  const google::protobuf::Descriptor* type = nullptr;
  std::int64_t time_ns = 0;
  std::int64_t deadline_ns = 0;
  std::string entity;
  std::string id;
  std::string cause;
  std::string correlation;
  std::string payload;
};

class Sender {
 public:
  /// Connects and begins. Throws `Error` when no server answers.
  Sender(const Settings& settings, Ring<Queued>& queue);
  ~Sender();

  /// Something was queued.
  void wake() noexcept;
  /// Wait until everything up to and including `ticket` has ended.
  bool wait_for(std::uint64_t ticket, std::chrono::milliseconds timeout);
  void fill(Stats& stats) const;

 private:
  void run();
  std::size_t take_queued(Clock::time_point now);
  bool take_one(Clock::time_point now);
  std::size_t take_answers(Clock::time_point now);
  void take_answer(const natsMsg* message, Clock::time_point now);
  void pack(Queued& queued, Parcel& parcel);
  void send(std::uint64_t number, Parcel& parcel, Clock::time_point now);
  void hasten(Clock::time_point due);
  void look_at_what_waits(Clock::time_point now);
  void connect();
  void come_back();
  bool look_at_the_log();
  void send_again();
  void rest(std::size_t worked, Clock::time_point now);
  void end(Parcel& parcel, Outcome outcome, std::uint64_t position, std::string reason);
  void tell_settled();
  void abandon();

  const Settings& settings_;
  Ring<Queued>& queue_;

  // Everything here belongs to our thread alone. A connection that breaks is not mended but replaced by it: so it knows what went out on which.
  std::unique_ptr<Wire> wire_;
  bool broken_ = false;
  bool stuck_ = false;         // the socket takes no more for the moment
  std::string inbox_;
  std::string reply_;          // room for the address of one answer
  Ids ids_;
  Flight flight_;
  std::uint64_t sent_ = 0;     // the last ticket that has left the queue
  std::uint64_t highest_ = 0;  // position that was acknowledged
  std::string damage_;         // why nothing is sent any more
  Clock::time_point looked_;
  Clock::time_point busy_;     // when there was last something to do
  std::chrono::microseconds nap_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t settled_ = 0;  // every ticket up to this one has ended

  std::mutex sleep_;
  std::condition_variable woken_;
  std::atomic<bool> asleep_{false};
  std::atomic<bool> closing_{false};
  std::atomic<std::uint64_t> recorded_{0}, refused_{0}, unknown_{0}, resent_{0}, reconnects_{0};
  std::thread thread_;
};

}  // namespace worldbus
