// One subscription of the C client, together with what its callback needs.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>

#include "connection.hpp"
#include "worldbus/client.hpp"

namespace worldbus {

/// Calls back for each message until it is destroyed, and waits then for a callback that is running.
class Listening : public Subscription {
 public:
  using Subscribe = std::function<natsStatus(natsSubscription** made, natsMsgHandler handler, void* closure)>;

  /// `subscribe` makes the subscription of the C client with this handler and closure. Throws `Error` with `wanted` if it cannot.
  Listening(const Subscribe& subscribe, const std::string& wanted, std::function<void(natsMsg*)> heard);
  ~Listening() override;
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

 private:
  static void on_message(natsConnection*, natsSubscription*, natsMsg* message, void* self);
  static void on_complete(void* self);

  std::function<void(natsMsg*)> heard_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool complete_ = false;
  natsSubscription* raw_ = nullptr;
};

}  // namespace worldbus
