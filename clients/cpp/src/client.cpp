#include "worldbus/client.hpp"

#include <limits>

#include "check.hpp"
#include "connection.hpp"
#include "envelope.hpp"
#include "group.hpp"
#include "names.hpp"
#include "ring.hpp"
#include "sender.hpp"
#include "subscription.hpp"

namespace worldbus {

namespace {

Settings checked(Settings settings) {
  token(settings.world, "world");
  token(settings.subsystem, "subsystem");
  token(settings.log, "log");
  if (settings.queue < 2 || settings.queue > (std::size_t{1} << 24)) throw Error("queue must be 2 to 16777216, found " + std::to_string(settings.queue));
  if (settings.in_flight < 1 || settings.in_flight > (std::size_t{1} << 20))
    throw Error("in_flight must be 1 to 1048576, found " + std::to_string(settings.in_flight));
  if (settings.answer_timeout.count() < 1 || settings.give_up < settings.answer_timeout || settings.give_up > std::chrono::seconds(110))
    throw Error("wanted 1 ms <= answer_timeout <= give_up <= 110 s (the log remembers ids for two minutes), found " +
                std::to_string(settings.answer_timeout.count()) + " ms and " + std::to_string(settings.give_up.count()) + " ms");
  return settings;
}

}  // namespace

const char* to_string(Submitted submitted) {
  switch (submitted) {
    case Submitted::queued: return "queued";
    case Submitted::full: return "full";
    case Submitted::closed: return "closed";
    case Submitted::bad_name: return "bad_name";
    case Submitted::too_large: return "too_large";
    case Submitted::bad_event: return "bad_event";
  }
  return "?";
}

const char* to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::recorded: return "recorded";
    case Outcome::repeated: return "repeated";
    case Outcome::refused: return "refused";
    case Outcome::unknown: return "unknown";
    case Outcome::conflict: return "conflict";
  }
  return "?";
}

// Subscriptions have a connection of their own, made when first needed: it comes back by itself, and a slow callback does not hold up the answers.
class Client::Inside {
 public:
  explicit Inside(Settings given) : settings(checked(std::move(given))), queue(settings.queue), sender(settings, queue) {}

  Connection& hearing() {
    const std::lock_guard<std::mutex> lock(mutex);
    if (hearing_ == nullptr) hearing_ = std::make_unique<Connection>(settings, true);
    return *hearing_;
  }

  const Settings settings;
  Ring<Queued> queue;
  Sender sender;
  std::atomic<bool> closing{false};
  std::atomic<std::uint64_t> overflowed{0};

 private:
  std::mutex mutex;
  std::unique_ptr<Connection> hearing_;
};

Client::Client(Settings settings) : inside_(std::make_unique<Inside>(std::move(settings))) {}
Client::~Client() { inside_->closing = true; }

Submitted Client::publish(std::string_view entity, const google::protobuf::Message& event, const About& about, std::uint64_t* ticket) noexcept {
  Inside& it = *inside_;
  if (it.closing.load(std::memory_order_relaxed)) return Submitted::closed;
  if (!is_token(entity) || (!about.id.empty() && !is_id(about.id)) || (!about.cause.empty() && !is_id(about.cause)) ||
      (!about.correlation.empty() && !is_id(about.correlation)))
    return Submitted::bad_name;
  const std::size_t size = event.ByteSizeLong();
  if (size > kMaxEvent - 1024) return Submitted::too_large;
  if (is_runtimes(event) || !keeps_the_rules(event)) return Submitted::bad_event;
  bool written = true;
  const bool pushed = it.queue.push([&](Queued& queued, std::uint64_t place) noexcept {
    queued.ticket = place + 1;
    if (ticket != nullptr) *ticket = place + 1;
    queued.type = event.GetDescriptor();
    queued.time_ns = about.time_ns;
    queued.deadline_ns = about.deadline_ns;
    queued.entity.assign(entity);
    queued.id.assign(about.id);
    queued.cause.assign(about.cause);
    queued.correlation.assign(about.correlation);
    queued.payload.resize(size);
    written = event.SerializePartialToArray(queued.payload.data(), static_cast<int>(size));
  });
  if (!pushed) {
    it.overflowed.fetch_add(1, std::memory_order_relaxed);
    return Submitted::full;
  }
  it.sender.wake();
  return Submitted::queued;
}

GroupReceipt Client::publish_group(const std::vector<Draft>& drafts, const std::vector<Expected>& expected) {
  try {
    return worldbus::publish_group(inside_->hearing(), inside_->settings, drafts, expected);
  } catch (const Error& error) {  // its connection, made for the first group, found no server
    GroupReceipt receipt;
    receipt.reason = std::string("the group was not sent: ") + error.what();
    return receipt;
  }
}

bool Client::flush(std::chrono::milliseconds timeout) { return inside_->sender.wait_for(inside_->queue.pushed(), timeout); }

Stats Client::stats() const {
  Stats stats;
  stats.queued = inside_->queue.pushed();
  stats.overflowed = inside_->overflowed;
  inside_->sender.fill(stats);
  return stats;
}

std::unique_ptr<Subscription> Client::subscribe(std::string_view subsystem, std::string_view entity, std::string_view event,
                                                std::function<void(const Event&)> heard, std::int64_t after) {
  return follow_log(inside_->hearing(), inside_->settings, subsystem, entity, event, std::move(heard), after);
}

std::unique_ptr<Subscription> Client::listen(std::string_view kind, std::string_view key, std::function<void(const Signal&)> heard) {
  return follow_signals(inside_->hearing(), inside_->settings, kind, key, std::move(heard));
}

}  // namespace worldbus
