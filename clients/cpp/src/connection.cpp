#include "connection.hpp"

#include <chrono>
#include <thread>
#include <vector>

namespace worldbus {

namespace {

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const auto end = std::min(text.find(',', begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

}  // namespace

void check(natsStatus status, const std::string& wanted) {
  if (status == NATS_OK) return;
  const char* detail = nats_GetLastError(nullptr);
  throw Error(wanted + ": " + natsStatus_GetText(status) + (detail && *detail ? std::string(" (") + detail + ")" : std::string()));
}

Connection::Connection(const Settings& settings, bool reconnects, const std::function<void(natsOptions*)>& change) {
  natsOptions* made = nullptr;
  check(natsOptions_Create(&made), "options of the connection");
  OwnedOptions options(made);
  const auto urls = split(settings.url);
  if (urls.empty()) throw Error("url: wanted an address like nats://host:4222, found none");
  std::vector<const char*> raw_urls;
  for (const auto& url : urls) raw_urls.push_back(url.c_str());
  check(natsOptions_SetServers(options.get(), raw_urls.data(), static_cast<int>(raw_urls.size())), "url " + settings.url);
  check(natsOptions_SetName(options.get(), settings.name.c_str()), "name of the connection");
  check(natsOptions_SetAllowReconnect(options.get(), reconnects), "reconnects");
  check(natsOptions_SetMaxReconnect(options.get(), -1), "reconnects");
  check(natsOptions_SetReconnectWait(options.get(), 200), "reconnects");
  check(natsOptions_SetTimeout(options.get(), 2000), "patience");
  check(natsOptions_SetPingInterval(options.get(), 5000), "pings");
  check(natsOptions_SetMaxPingsOut(options.get(), 2), "pings");
  if (!settings.credentials.empty())
    check(natsOptions_SetUserCredentialsFromFiles(options.get(), settings.credentials.c_str(), nullptr), "credentials " + settings.credentials);
  check(natsOptions_SetClosedCB(options.get(), on_closed, this), "callbacks");
  if (change) change(options.get());
  check(natsConnection_Connect(&raw_, options.get()), "no NATS server answers at " + settings.url + "; is it running?");
}

Connection::~Connection() {
  natsConnection_Close(raw_);
  // The last callbacks run on another thread, with `this` in hand: wait for the one that is promised to be the last.
  while (!closed_.load(std::memory_order_acquire)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  natsConnection_Destroy(raw_);
}

void Connection::on_closed(natsConnection*, void* self) { static_cast<Connection*>(self)->closed_.store(true, std::memory_order_release); }

}  // namespace worldbus
