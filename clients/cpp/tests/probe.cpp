// A program around the client, for tests against a real server: does what it is told and says what came of it as JSON lines.
//
//   probe publish URL WORLD COUNT ENTITIES [PACE_US]  publishes PlayerMoved with ids probe-<n>, waits for every receipt
//   probe overflow URL WORLD QUEUE                    publishes faster than a closed window lets out, counts what is refused
//   probe follow URL WORLD SUBSYSTEM EVENT COUNT      prints so many events as they come
//   probe listen URL WORLD KIND COUNT                 prints so many signals as they come
//   probe refuse URL WORLD                            bad names and payloads
//   probe race URL WORLD ROUNDS                       two clients race for one coin in two purses, says how often the rule held
//   probe groups URL WORLD                            groups, one after the other; waits for a line before the last ones
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "worldbus/client.hpp"
#include "worldbus/inference/v1/types.pb.h"
#include "worldbus/player/v1/player.pb.h"

using namespace worldbus;
using namespace std::chrono_literals;

namespace {

Settings settings(char** arguments) {
  Settings it;
  it.url = arguments[2];
  it.world = arguments[3];
  return it;
}

void say(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

int publish(int count, int entities, int pace_us, Settings given) {
  std::mutex mutex;
  std::map<std::string, int> outcomes;
  std::uint64_t last = 0;
  bool in_order = true;
  given.on_receipt = [&](const Receipt& receipt) {
    const std::lock_guard<std::mutex> lock(mutex);
    ++outcomes[to_string(receipt.outcome)];
    if (receipt.outcome == Outcome::recorded) {
      in_order = in_order && receipt.position > last;
      last = receipt.position;
    }
    if (!receipt.reason.empty()) std::fprintf(stderr, "%s: %s\n", receipt.id.c_str(), receipt.reason.c_str());
  };
  given.on_connected = [](bool up) { std::fprintf(stderr, up ? "connected\n" : "disconnected\n"); };
  Client client(given);
  say("{\"ready\":true}");
  player::v1::PlayerMoved moved;
  moved.set_zone("quay");
  for (int i = 0; i < count; ++i) {
    moved.set_x(i);
    const std::string id = "probe-" + std::to_string(i);
    About about;
    about.id = id;
    while (client.publish("p" + std::to_string(i % entities), moved, about) == Submitted::full) std::this_thread::sleep_for(1ms);
    if (pace_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(pace_us));
  }
  const bool flushed = client.flush(60s);
  const auto stats = client.stats();
  const std::lock_guard<std::mutex> lock(mutex);
  std::string line = "{\"flushed\":" + std::string(flushed ? "true" : "false") + ",\"in_order\":" + (in_order ? "true" : "false");
  for (const auto& [name, number] : outcomes) line += ",\"" + name + "\":" + std::to_string(number);
  say(line + ",\"resent\":" + std::to_string(stats.resent) + ",\"reconnects\":" + std::to_string(stats.reconnects) + "}");
  return flushed ? 0 : 1;
}

int overflow(Settings given, std::size_t queue) {
  given.queue = queue;
  given.in_flight = 1;
  std::atomic<int> receipts{0};
  given.on_receipt = [&](const Receipt&) { ++receipts; };
  int queued = 0, full = 0;
  {
    Client client(given);
    player::v1::PlayerMoved moved;
    moved.set_zone("quay");
    for (int i = 0; i < 200'000; ++i) {
      const auto submitted = client.publish("p1", moved);
      if (submitted == Submitted::queued) ++queued;
      if (submitted == Submitted::full) ++full;
    }
    const auto stats = client.stats();
    if (stats.queued != static_cast<std::uint64_t>(queued) || stats.overflowed != static_cast<std::uint64_t>(full)) return 3;
  }  // closing ends what is under way: every queued event has exactly one receipt
  say("{\"queued\":" + std::to_string(queued) + ",\"full\":" + std::to_string(full) + ",\"receipts\":" + std::to_string(receipts) + "}");
  return 0;
}

int follow(Client& client, const char* subsystem, const char* event, int count) {
  std::mutex mutex;
  std::condition_variable done;
  int heard = 0;
  const auto subscription = client.subscribe(subsystem, "", event, [&](const Event& it) {
    player::v1::PlayerMoved moved;
    const bool is_move = it.read(moved);
    const std::lock_guard<std::mutex> lock(mutex);
    say("{\"position\":" + std::to_string(it.position) + ",\"entity\":\"" + it.entity + "\",\"name\":\"" + it.name + "\",\"id\":\"" + it.id +
        "\",\"zone\":\"" + (is_move ? moved.zone() : "") + "\"}");
    if (++heard >= count) done.notify_all();
  }, 0);
  say("{\"ready\":true}");
  std::unique_lock<std::mutex> lock(mutex);
  return done.wait_for(lock, 60s, [&] { return heard >= count; }) ? 0 : 1;
}

int listen(Client& client, const char* kind, int count) {
  std::mutex mutex;
  std::condition_variable done;
  int heard = 0;
  const auto subscription = client.listen(kind, "", [&](const Signal& it) {
    inference::v1::TokensDelivered chunk;
    const bool is_chunk = it.read(chunk);
    const std::lock_guard<std::mutex> lock(mutex);
    say("{\"kind\":\"" + it.kind + "\",\"key\":\"" + it.key + "\",\"text\":\"" + (is_chunk ? chunk.text() : "") + "\"}");
    if (++heard >= count) done.notify_all();
  });
  say("{\"ready\":true}");
  std::unique_lock<std::mutex> lock(mutex);
  return done.wait_for(lock, 60s, [&] { return heard >= count; }) ? 0 : 1;
}

int refuse(Client& client) {
  player::v1::PlayerMoved moved;
  const auto name = [&](std::string_view entity) { return std::string(to_string(client.publish(entity, moved))); };
  std::string line = "{\"empty\":\"" + name("") + "\",\"dot\":\"" + name("a.b") + "\",\"star\":\"" + name("*") + "\",\"long\":\"" + name(std::string(65, 'x'));
  About about;
  about.id = "two words";
  line += "\",\"id\":\"" + std::string(to_string(client.publish("p", moved, about)));
  moved.set_x(std::numeric_limits<double>::infinity());
  line += "\",\"infinite\":\"" + name("p");
  moved.set_x(0);
  moved.set_zone(std::string(300'000, 'z'));
  line += "\",\"large\":\"" + name("p");
  say(line + "\",\"queued\":" + std::to_string(client.stats().queued) + "}");
  return 0;
}

int race(Client& east, Client& west, int rounds) {
  player::v1::PlayerMoved coin, taken, note;
  coin.set_x(1);
  taken.set_x(-1);
  int held = 0;
  for (int number = 0; number < rounds; ++number) {
    const std::string sides[] = {"east-" + std::to_string(number), "west-" + std::to_string(number)};
    const auto filled = east.publish_group({{sides[number % 2], &coin, "", "", "", 0}});
    std::vector<Expected> expected;
    for (int side = 0; side < 2; ++side) expected.push_back({sides[side], side == number % 2 ? filled.first : 0, ""});
    GroupReceipt receipts[2];
    std::thread other([&] { receipts[1] = west.publish_group({{sides[1], &taken, "", "", "", 0}, {sides[1], &note, "", "", "", 0}}, expected); });
    receipts[0] = east.publish_group({{sides[0], &taken, "", "", "", 0}, {sides[0], &note, "", "", "", 0}}, expected);
    other.join();
    const int won = receipts[0].outcome == Outcome::recorded ? 0 : 1;
    const auto& lost = receipts[1 - won];
    if (receipts[won].outcome == Outcome::recorded && lost.outcome == Outcome::conflict && lost.moved.entity == sides[won] && lost.found == filled.first + 2)
      ++held;
  }
  say("{\"held\":" + std::to_string(held) + "}");
  return 0;
}

int groups(Client& client) {
  player::v1::PlayerMoved moved, other;
  other.set_x(7);
  const auto draft = [&](const std::string& entity, const std::string& id = "") { return Draft{entity, &moved, id, "", "", id.empty() ? 0 : 1000}; };
  const auto end = [&](const std::vector<Draft>& drafts, const std::vector<Expected>& expected = {}) {
    const auto it = client.publish_group(drafts, expected);
    std::string said = "[\"" + std::string(to_string(it.outcome)) + "\"," + std::to_string(it.first);
    if (it.outcome == Outcome::conflict)
      said += ",\"" + it.moved.subsystem + "\",\"" + it.moved.entity + "\"," + std::to_string(it.moved.position) + "," + std::to_string(it.found);
    return said + "]";
  };
  const auto tell = [](const std::vector<std::string>& ended) {
    std::string line = "{\"ended\":[";
    for (std::size_t i = 0; i < ended.size(); ++i) line += (i ? "," : "") + ended[i];
    say(line + "]}");
  };
  const std::vector<Draft> first{draft("a", "g1"), draft("b", "g2")}, only{draft("c", "g3"), draft("d", "g4")};
  const std::vector<Expected> both{{"a", 0, ""}, {"b", 0, ""}}, read{{"nobody", 0, "tools"}};
  tell({end(first, both), end(first, both), end(only, read), end(only), end({draft("a"), draft("b")}, both)});
  tell({end({draft("a")}, {{"b", 2, ""}}), end({draft("a")}, {{"b", 1, ""}})});
  std::getchar();
  tell({end(first, both), end({draft("a", "g1"), Draft{"b", &other, "g2", "", "", 1000}}, both)});
  tell({end({}), end({draft("a", "x"), draft("b", "x")}), end({draft("a.b")}), end({draft("a", "two words")}), end({draft("a")}, both),
        end({draft("a"), draft("b")}, {{"a", 0, ""}, {"a", 1, ""}}), end({draft("a")}, {{"*", 0, ""}}), end({Draft{"a", nullptr, "", "", "", 0}})});
  return 0;
}

}  // namespace

int main(int count, char** arguments) try {
  if (count < 4) return 2;
  const std::string what = arguments[1];
  const auto number = [&](int i, int otherwise) { return i < count ? std::atoi(arguments[i]) : otherwise; };
  if (what == "publish") return publish(number(4, 1), number(5, 1), number(6, 0), settings(arguments));
  if (what == "overflow") return overflow(settings(arguments), static_cast<std::size_t>(number(4, 64)));
  Client client(settings(arguments));
  if (what == "follow") return follow(client, arguments[4], arguments[5], number(6, 1));
  if (what == "listen") return listen(client, arguments[4], number(5, 1));
  if (what == "refuse") return refuse(client);
  if (what == "groups") return groups(client);
  if (what == "race") {
    Client west(settings(arguments));
    return race(client, west, number(4, 1));
  }
  return 2;
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 4;
}
