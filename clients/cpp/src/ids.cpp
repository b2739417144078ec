#include "ids.hpp"

#include <random>

namespace worldbus {

namespace {

constexpr char kAlphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

void write(std::string& into, std::uint64_t value, int characters) {
  for (int i = characters - 1; i >= 0; --i) into.push_back(kAlphabet[(value >> (5 * i)) & 31]);
}

std::uint64_t draw() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

}  // namespace

Ids::Ids() : random_(draw()), count_(static_cast<std::uint32_t>(draw()) & 0xffff) {}

void Ids::next(std::int64_t now_ns, std::string& into) {
  const std::int64_t millis = now_ns / 1'000'000;
  // The clock may go back, and a count may run over: neither may give an id twice, so both take new randomness.
  if (millis < millis_ || count_ >= (1u << 20)) {
    random_ = draw();
    count_ = 0;
  }
  millis_ = millis;
  into.clear();
  write(into, static_cast<std::uint64_t>(millis), 10);
  write(into, random_ & ((1ull << 60) - 1), 12);
  write(into, count_++, 4);
}

}  // namespace worldbus
