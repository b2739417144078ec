// One connection to NATS, and the handles of the C client as owned values.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <nats/nats.h>
#include <string>

#include "worldbus/settings.hpp"

namespace worldbus {

template <typename Handle, void (*destroy)(Handle*)>
struct Destroy {
  void operator()(Handle* handle) const { destroy(handle); }
};
template <typename Handle, void (*destroy)(Handle*)>
using Owned = std::unique_ptr<Handle, Destroy<Handle, destroy>>;

using OwnedMessage = Owned<natsMsg, natsMsg_Destroy>;
using OwnedOptions = Owned<natsOptions, natsOptions_Destroy>;
using OwnedContext = Owned<jsCtx, jsCtx_Destroy>;

/// Throws `Error` unless `status` is NATS_OK.
void check(natsStatus status, const std::string& wanted);

/// One connection. With `reconnects` it tries again for ever; without, it ends when it breaks: nothing that is published then can go out behind
/// what was lost.
class Connection {
 public:
  /// Throws `Error` when no server answers. `change` may change the options before they are used.
  Connection(const Settings& settings, bool reconnects, const std::function<void(natsOptions*)>& change = {});
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  natsConnection* raw() const { return raw_; }

 private:
  static void on_closed(natsConnection*, void* self);

  std::atomic<bool> closed_{false};
  natsConnection* raw_ = nullptr;
};

}  // namespace worldbus
