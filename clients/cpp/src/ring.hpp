// A bounded queue of many producers and one consumer. Producers never wait for one another beyond a failed compare-and-set.
//
// D. Vyukov's bounded MPMC queue: each cell carries the turn it is good for, so that a producer takes its cell with one compare-and-set and hands
// it over with one store. Cells are used again, and with them the memory of what they hold.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace worldbus {

template <typename Item>
class Ring {
 public:
  /// `capacity` is rounded up to a power of two.
  explicit Ring(std::size_t capacity) {
    std::size_t size = 2;
    while (size < capacity) size *= 2;
    mask_ = size - 1;
    cells_ = std::make_unique<Cell[]>(size);
    for (std::size_t i = 0; i < size; ++i) cells_[i].turn.store(i, std::memory_order_relaxed);
  }

  std::size_t capacity() const { return mask_ + 1; }

  /// Let `fill(item, ticket)` write the next cell. False if the queue is full. `fill` must not throw.
  template <typename Fill>
  bool push(Fill&& fill) {
    std::uint64_t place = head_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[place & mask_];
      const auto behind = static_cast<std::int64_t>(cell.turn.load(std::memory_order_acquire)) - static_cast<std::int64_t>(place);
      if (behind == 0) {
        if (head_.compare_exchange_weak(place, place + 1, std::memory_order_relaxed)) {
          fill(cell.item, place);
          cell.turn.store(place + 1, std::memory_order_release);
          return true;
        }
      } else if (behind < 0) {
        return false;
      } else {
        place = head_.load(std::memory_order_relaxed);
      }
    }
  }

  /// The consumer: let `take(item)` have the oldest item. False if there is none.
  template <typename Take>
  bool pop(Take&& take) {
    Cell& cell = cells_[tail_ & mask_];
    if (cell.turn.load(std::memory_order_acquire) != tail_ + 1) return false;
    take(cell.item);
    cell.turn.store(tail_ + mask_ + 1, std::memory_order_release);
    ++tail_;
    return true;
  }

  /// The consumer: whether there is nothing to pop.
  bool empty() const { return cells_[tail_ & mask_].turn.load(std::memory_order_acquire) != tail_ + 1; }

  /// Tickets given out so far.
  std::uint64_t pushed() const { return head_.load(std::memory_order_acquire); }

 private:
  struct alignas(64) Cell {
    std::atomic<std::uint64_t> turn{0};
    Item item;
  };

  std::unique_ptr<Cell[]> cells_;
  std::size_t mask_ = 0;
  alignas(64) std::atomic<std::uint64_t> head_{0};
  alignas(64) std::uint64_t tail_ = 0;
};

}  // namespace worldbus
