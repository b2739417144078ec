// What needs no server: the envelope, the queue, the rules, the answers.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "answers.hpp"
#include "check.hpp"
#include "envelope.hpp"
#include "flight.hpp"
#include "group.hpp"
#include "ids.hpp"
#include "io/cloudevents/v1/cloudevents.pb.h"
#include "names.hpp"
#include "ring.hpp"
#include "worldbus/game/v1/game.pb.h"
#include "worldbus/player/v1/player.pb.h"
#include "worldbus/runtime/v1/runtime.pb.h"

using namespace worldbus;

TEST_CASE("an envelope is what protobuf reads: every attribute, whatever the lengths") {
  std::mt19937 dice(7);
  for (int round = 0; round < 2000; ++round) {
    const auto some = [&](std::size_t most) { return std::string(dice() % (most + 1), static_cast<char>('a' + dice() % 26)); };
    const std::string id = "i" + some(254), cause = some(255), correlation = some(255), payload = some(70000), entity = "e" + some(63);
    worldbus::Envelope it;
    it.id = id;
    it.subsystem = "game";
    it.type = "worldbus.player.v1.PlayerMoved";
    it.world = "w1";
    it.entity = entity;
    it.cause = cause;
    it.correlation = correlation;
    it.time_ns = static_cast<std::int64_t>(dice()) * 1'000'003 - 1'000'000'000;
    it.deadline_ns = dice() % 2 ? 0 : static_cast<std::int64_t>(dice()) + 1;
    it.payload = payload;
    std::string out;
    encode(it, out);
    io::cloudevents::v1::CloudEvent read;
    REQUIRE(read.ParseFromString(out));
    CHECK(read.id() == id);
    CHECK(read.source() == "/worldbus/game");
    CHECK(read.spec_version() == "1.0");
    CHECK(read.type() == it.type);
    CHECK(read.attributes().at("subject").ce_string() == entity);
    CHECK(read.attributes().at("world").ce_string() == "w1");
    const auto& time = read.attributes().at("time").ce_timestamp();
    CHECK(time.seconds() * 1'000'000'000 + time.nanos() == it.time_ns);
    CHECK(time.nanos() >= 0);
    CHECK(read.attributes().count("causationid") == !cause.empty());
    if (!correlation.empty()) CHECK(read.attributes().at("correlationid").ce_string() == correlation);
    CHECK(read.attributes().count("deadline") == (it.deadline_ns != 0));
    CHECK(read.proto_data().type_url() == "type.googleapis.com/worldbus.player.v1.PlayerMoved");
    CHECK(read.proto_data().value() == payload);
  }
}

TEST_CASE("the queue hands over every item once, each producer's in order, and says when it is full") {
  Ring<std::pair<int, int>> ring(1024);
  constexpr int kEach = 50'000, kProducers = 4;
  std::vector<std::thread> producers;
  for (int who = 0; who < kProducers; ++who)
    producers.emplace_back([&ring, who] {
      for (int i = 0; i < kEach; ++i)
        while (!ring.push([&](auto& item, std::uint64_t) { item = {who, i}; })) std::this_thread::yield();
    });
  std::vector<int> next(kProducers, 0);
  for (int taken = 0; taken < kEach * kProducers;) {
    const bool got = ring.pop([&](auto& item) {
      if (item.second != next[static_cast<std::size_t>(item.first)]++) FAIL("out of order");
    });
    if (got) ++taken;
  }
  for (auto& producer : producers) producer.join();
  CHECK(ring.empty());
  CHECK(ring.pushed() == kEach * kProducers);
  for (std::size_t i = 0; i < ring.capacity(); ++i) CHECK(ring.push([](auto&, std::uint64_t) {}));
  CHECK_FALSE(ring.push([](auto&, std::uint64_t) {}));
  CHECK(ring.pop([](auto&) {}));
  CHECK(ring.push([](auto&, std::uint64_t) {}));
}

TEST_CASE("a flight finds what is under way, and gives places back from the oldest on") {
  Flight flight(3);
  for (std::uint64_t i = 0; i < 3; ++i) {
    flight.coming().done = false;
    CHECK(flight.enter() == i);
  }
  CHECK(flight.full());
  flight.end(*flight.find(1));
  CHECK(flight.find(1) == nullptr);
  CHECK(flight.full());  // 0 is still the oldest
  flight.end(*flight.find(0));
  CHECK(flight.oldest() == 2);
  CHECK(flight.find(7) == nullptr);
  flight.end(*flight.find(2));
  CHECK(flight.empty());
}

TEST_CASE("ids are fresh, sort by time and keep the rules") {
  Ids ids;
  std::set<std::string> seen;
  std::string id;
  for (int i = 0; i < 200'000; ++i) {
    ids.next(1'700'000'000'000'000'000 + i * 10'000ll, id);
    CHECK(is_id(id));
    CHECK(id.size() == 26);
    seen.insert(id);
  }
  CHECK(seen.size() == 200'000);
  std::string later;
  ids.next(1'800'000'000'000'000'000, later);
  CHECK(later.substr(0, 10) > id.substr(0, 10));
  ids.next(1'700'000'000'000'000'000, id);  // the clock went back
  CHECK(seen.count(id) == 0);
}

TEST_CASE("names keep the bus's rules") {
  for (const char* good : {"a", "player-7", "A_Z-09"}) CHECK(is_token(good));
  for (const char* bad : {"", "a b", "a.b", "*", ">", "\xc3\xa9", "a\n"}) CHECK_FALSE(is_token(bad));
  CHECK(is_token(std::string(64, 'x')));
  CHECK_FALSE(is_token(std::string(65, 'x')));
  CHECK_FALSE(is_id("two words"));
  CHECK_FALSE(is_id(std::string(256, 'x')));
}

TEST_CASE("payloads that the bus refuses are found") {
  player::v1::PlayerJoined joined;
  joined.set_display_name("Zo\xc3\xab \xf0\x9f\x98\x80");
  CHECK(keeps_the_rules(joined));
  for (const std::string& bad : {std::string("a\0b", 3), std::string("\xff"), std::string("\xc0\xaf"), std::string("\xed\xa0\x80"), std::string("\xf4\x90\x80\x80"),
                                 std::string("cut\xe2\x82"), std::string("\xe2\x82")}) {
    joined.set_display_name(bad);
    CHECK_FALSE(keeps_the_rules(joined));
  }
  player::v1::PlayerMoved moved;
  moved.set_x(std::numeric_limits<double>::quiet_NaN());
  CHECK_FALSE(keeps_the_rules(moved));
  moved.set_x(-std::numeric_limits<double>::infinity());
  CHECK_FALSE(keeps_the_rules(moved));
  moved.set_x(1.5);
  CHECK(keeps_the_rules(moved));
}

TEST_CASE("times that nobody could show are found, and the runtime's records") {
  runtime::v1::EventParked parked;
  auto& time = *parked.mutable_first_failed_at();
  CHECK(keeps_the_rules(parked));
  CHECK(is_runtimes(parked));
  CHECK_FALSE(is_runtimes(player::v1::PlayerMoved()));
  for (const auto& [seconds, nanos] : {std::pair{1'796'001'898'136LL, 0}, {-62'135'596'801LL, 0}, {0LL, -1}, {0LL, 1'000'000'000}}) {
    time.set_seconds(seconds);
    time.set_nanos(nanos);
    CHECK_FALSE(keeps_the_rules(parked));
  }
  time.set_seconds(253'402'300'799);
  time.set_nanos(999'999'999);
  CHECK(keeps_the_rules(parked));
}

TEST_CASE("answers of the log are told apart") {
  auto it = read_answer(R"({"stream":"LOG","seq":18446744073709551615,"duplicate":true})");
  CHECK(it.kind == LogAnswer::Kind::stored);
  CHECK(it.position == 18446744073709551615ull);
  CHECK(it.duplicate);
  CHECK(read_answer(R"({"stream":"LOG","seq":3,"duplicate": true})").duplicate);  // as the server writes it
  it = read_answer(R"({"stream":"LOG", "seq":7})");
  CHECK(it.position == 7);
  CHECK_FALSE(it.duplicate);
  it = read_answer(R"({"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"},"stream":"LOG","seq":0})");
  CHECK(it.kind == LogAnswer::Kind::never);
  CHECK(it.reason == "message size exceeds maximum allowed");
  CHECK(read_answer(R"({"error":{"code":503,"err_code":10077,"description":"no space"}})").kind == LogAnswer::Kind::later);
  std::mt19937 dice(3);
  for (int i = 0; i < 20'000; ++i) {  // nothing crashes it, and nothing but a sequence is taken for one
    std::string noise = R"({"stream":"LOG","seq":7,"error":{"code":)";
    noise.resize(dice() % noise.size());
    for (int k = 0; k < 3 && !noise.empty(); ++k) noise[dice() % noise.size()] = static_cast<char>(dice() % 256);
    (void)read_answer(noise);
  }
  CHECK(read_answer("").kind == LogAnswer::Kind::later);
  CHECK(read_answer(R"({"seq":0})").kind == LogAnswer::Kind::later);
}

TEST_CASE("answers to a look into the log are told apart") {
  auto it = read_look(R"({"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":{"subject":"evt.0.w.\"seq\":5.a.B","seq":7,"hdrs":"TkFUUw==","data":"AP8rLw==","time":"2026-11-30T11:00:00Z"}})");
  CHECK(it.kind == LookAnswer::Kind::found);
  CHECK(it.position == 7);
  CHECK(it.bytes == std::string("\0\xff+/", 4));
  it = read_look(R"({"message":{"subject":"evt.0.w.s.a.B","seq":9,"time":"2026-11-30T11:00:00Z"}})");  // a message without bytes
  CHECK(it.kind == LookAnswer::Kind::found);
  CHECK(it.bytes.empty());
  CHECK(read_look(R"({"error":{"code":404,"err_code":10037,"description":"no message found"}})").kind == LookAnswer::Kind::none);
  CHECK(read_look(R"({"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}})").kind == LookAnswer::Kind::later);
  CHECK(read_look(R"({"message":{"seq":7,"data":"=broken="}})").kind == LookAnswer::Kind::later);
  CHECK(read_look("").kind == LookAnswer::Kind::later);
}

TEST_CASE("a partition is the one that the server chooses") {
  CHECK(partition_of("w1", "mira", 8) == 6);
  CHECK(partition_of("duskmarket", "old-marten", 8) == 7);
  CHECK(partition_of("w", "", 1) == 0);
}
