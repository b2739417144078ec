#include "listening.hpp"

namespace worldbus {

Listening::Listening(const Subscribe& subscribe, const std::string& wanted, std::function<void(natsMsg*)> heard) : heard_(std::move(heard)) {
  check(subscribe(&raw_, on_message, this), wanted);
  // A connection that broke meanwhile has ended the subscription, and nobody would ever tell us that it is complete.
  if (natsSubscription_SetOnCompleteCB(raw_, on_complete, this) != NATS_OK) complete_ = true;
  check(natsSubscription_SetPendingLimits(raw_, -1, -1), wanted);
}

// Not by unsubscribing: that asks the server to delete the consumer of a subscription to the log, by a name that another thread of the C client may
// free meanwhile when it has just come back. The server removes a consumer that nobody listens to by itself.
Listening::~Listening() {
  natsSubscription_Destroy(raw_);
  std::unique_lock<std::mutex> lock(mutex_);
  ended_.wait(lock, [this] { return complete_; });
}

void Listening::on_message(natsConnection*, natsSubscription*, natsMsg* message, void* self) {
  const OwnedMessage owned(message);
  static_cast<Listening*>(self)->heard_(message);
}

void Listening::on_complete(void* self) {
  auto* it = static_cast<Listening*>(self);
  const std::lock_guard<std::mutex> lock(it->mutex_);
  it->complete_ = true;
  it->ended_.notify_all();
}

}  // namespace worldbus
