// What was sent and has no answer yet: a window of parcels in the order of their tickets.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace worldbus {

using Clock = std::chrono::steady_clock;

/// One event on its way, from the bytes that go out to the answer that ends it.
struct Parcel {
  std::uint64_t ticket = 0;
  std::string id;
  std::string subject;
  std::string bytes;
  bool done = true;
  std::uint32_t tries = 0;
  Clock::time_point first_sent;
  Clock::time_point due;  ///< when to send it again if nothing was heard
};

/// A fixed number of parcels, numbered 0, 1, 2 … in the order in which they entered. The caller holds a lock around every call.
class Flight {
 public:
  explicit Flight(std::size_t size) : parcels_(size < 1 ? 1 : size) {}

  bool full() const { return next_ - oldest_ == parcels_.size(); }
  bool empty() const { return next_ == oldest_; }
  std::uint64_t oldest() const { return oldest_; }
  std::uint64_t next() const { return next_; }

  /// The place of the next parcel; `enter` takes it.
  Parcel& coming() { return parcels_[next_ % parcels_.size()]; }
  std::uint64_t enter() { return next_++; }
  /// The parcel that entered last.
  const Parcel& latest() const { return parcels_[(next_ - 1) % parcels_.size()]; }

  /// The parcel of that number if it is under way, else null: an answer may come twice, or too late.
  Parcel* find(std::uint64_t number) {
    if (number < oldest_ || number >= next_) return nullptr;
    Parcel& parcel = parcels_[number % parcels_.size()];
    return parcel.done ? nullptr : &parcel;
  }

  /// It has ended: places are free again up to the oldest parcel that has not.
  void end(Parcel& parcel) {
    parcel.done = true;
    while (oldest_ != next_ && parcels_[oldest_ % parcels_.size()].done) ++oldest_;
  }

 private:
  std::vector<Parcel> parcels_;
  std::uint64_t oldest_ = 0;
  std::uint64_t next_ = 0;
};

}  // namespace worldbus
