#include "listening.hpp"

namespace worldbus {

Listening::Listening(const Subscribe& subscribe, const std::string& wanted, std::function<void(natsMsg*)> heard) : heard_(std::move(heard)) {
  check(subscribe(&raw_, on_message, this), wanted);
  // A connection that broke meanwhile has ended the subscription, and nobody would ever tell us that it is complete.
  if (natsSubscription_SetOnCompleteCB(raw_, on_complete, this) != NATS_OK) complete_ = true;
  check(natsSubscription_SetPendingLimits(raw_, -1, -1), wanted);
}

Listening::~Listening() {
  natsSubscription_Unsubscribe(raw_);  // may have ended with its connection
  {
    std::unique_lock<std::mutex> lock(mutex_);
    ended_.wait(lock, [this] { return complete_; });
  }
  natsSubscription_Destroy(raw_);
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
