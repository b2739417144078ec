// How long a call of `publish` takes, and how fast the log takes what was queued.
//   throughput URL WORLD COUNT RATE    prints one JSON object. RATE: calls per second (0: as fast as they go, waiting while the queue is full)
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "worldbus/client.hpp"
#include "worldbus/player/v1/player.pb.h"

using Clock = std::chrono::steady_clock;

int main(int count, char** arguments) {
  if (count != 5) {
    std::fprintf(stderr, "usage: throughput URL WORLD COUNT RATE\n");
    return 2;
  }
  worldbus::Settings settings;
  settings.url = arguments[1];
  settings.world = arguments[2];
  settings.queue = 1 << 18;
  const int events = std::atoi(arguments[3]);
  const double rate = std::atof(arguments[4]);
  worldbus::Client client(settings);
  worldbus::player::v1::PlayerMoved moved;
  moved.set_zone("quay");
  moved.set_y(2);
  std::vector<std::string> entities;
  for (int i = 0; i < 64; ++i) entities.push_back("p" + std::to_string(i));
  std::vector<std::uint32_t> took;
  took.reserve(static_cast<std::size_t>(events));
  const auto began = Clock::now();
  for (int i = 0; i < events; ++i) {
    if (rate > 0)  // a game thread has a frame to keep: it spins here, where the game would do its own work
      while (std::chrono::duration<double>(Clock::now() - began).count() < i / rate) {
      }
    moved.set_x(i);
    for (;;) {
      const auto before = Clock::now();
      const auto submitted = client.publish(entities[static_cast<std::size_t>(i) % 64], moved);
      const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - before).count();
      if (submitted == worldbus::Submitted::queued) {
        took.push_back(static_cast<std::uint32_t>(ns));
        break;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  const double queued_s = std::chrono::duration<double>(Clock::now() - began).count();
  if (!client.flush(std::chrono::seconds(120))) return 1;
  const double all_s = std::chrono::duration<double>(Clock::now() - began).count();
  std::sort(took.begin(), took.end());
  const auto at = [&](double share) { return took[static_cast<std::size_t>(share * static_cast<double>(took.size() - 1))] / 1000.0; };
  std::printf("{\"events\":%d,\"queued_per_s\":%.0f,\"call_us_p50\":%.3f,\"call_us_p99\":%.3f,\"call_us_max\":%.1f,\"recorded_per_s\":%.0f,\"recorded\":%llu}\n",
              events, events / queued_s, at(0.5), at(0.99), took.back() / 1000.0, events / all_s, static_cast<unsigned long long>(client.stats().recorded));
  return 0;
}
