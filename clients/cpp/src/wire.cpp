#include "wire.hpp"

#ifdef _WIN32
#include <winsock2.h>
#else
#include <poll.h>
#endif

#include <limits>

namespace worldbus {

namespace {

constexpr int kBuffer = 1 << 17;       // bytes that one read takes
constexpr int kPing = 5000;            // milliseconds
constexpr int kWritePatience = 5000;   // milliseconds that TLS may wait inside a write, which it cannot leave half done
constexpr std::size_t kSpent = 4096;   // messages that are given away together

bool readable(natsSock socket) {
#ifdef _WIN32
  WSAPOLLFD look{};
  look.fd = socket;
  look.events = POLLIN;
  return WSAPoll(&look, 1, 0) > 0;
#else
  pollfd look{socket, POLLIN, 0};
  return poll(&look, 1, 0) > 0;  // also when it was closed at the other end: reading finds out
#endif
}

natsStatus nothing_to_do(void*, bool) { return NATS_OK; }

}  // namespace

Wire::Wire(const Settings& settings) : connection_(settings, false, [this](natsOptions* options) { driven_by_hand(options, this); }) {}

void Wire::driven_by_hand(natsOptions* options, Wire* self) {
  const auto attach = [](void** data, void* loop, natsConnection*, natsSock socket) {
    *data = loop;
    static_cast<Wire*>(loop)->socket_ = socket;
    return NATS_OK;
  };
  check(natsOptions_SetEventLoop(options, self, attach, nothing_to_do, nothing_to_do, [](void*) { return NATS_OK; }), "the sender's connection");
  check(natsOptions_SetSendAsap(options, true), "the sender's connection");  // else it has a thread that flushes; `write` does
  check(natsOptions_SetIOBufSize(options, kBuffer), "the sender's connection");
  check(natsOptions_SetWriteDeadline(options, kWritePatience), "the sender's connection");
  // Its timer may ask for signs of life, but not close the connection for want of them: it is a thread of its own, and we may be reading from the
  // socket. The sender looks at `heard` instead.
  check(natsOptions_SetPingInterval(options, kPing), "pings");
  check(natsOptions_SetMaxPingsOut(options, std::numeric_limits<int>::max()), "pings");
}

void Wire::hear(const std::string& subject) {
  natsSubscription* made = nullptr;
  check(natsConnection_SubscribeSync(&made, connection_.raw(), subject.c_str()), "cannot listen to " + subject);
  subscription_.reset(made);
  check(natsSubscription_SetPendingLimits(made, -1, -1), "cannot listen to " + subject);
}

bool Wire::publish(OwnedMessage message) {
  const bool appended = natsConnection_PublishMsg(connection_.raw(), message.get()) == NATS_OK;
  spent_.push_back(std::move(message));
  return appended;
}

bool Wire::write() {
  if (natsConnection_Buffered(connection_.raw()) > 0) natsConnection_ProcessWriteEvent(connection_.raw());
  return natsConnection_Buffered(connection_.raw()) <= 0;
}

bool Wire::read(Clock::time_point now) {
  if (ended() || !readable(socket_)) return false;
  natsConnection_ProcessReadEvent(connection_.raw());
  heard_ = now;
  return true;
}

natsStatus Wire::next(const natsMsg*& message) {
  natsMsg* raw = nullptr;
  const natsStatus status = natsSubscription_NextMsg(&raw, subscription_.get(), 0);
  message = raw;
  if (raw != nullptr) spent_.emplace_back(raw);
  return status;
}

// The C client frees messages on a thread of its own, which is woken for the first of them: one by one, that is a wake-up per message, and two threads
// at the allocator's lock. In bulk and just before a nap that thread has a processor and the allocator to itself.
void Wire::tidy(bool before_a_nap) {
  if (before_a_nap || spent_.size() >= kSpent) spent_.clear();
}

}  // namespace worldbus
