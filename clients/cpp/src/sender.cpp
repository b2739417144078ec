#include "sender.hpp"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "envelope.hpp"

namespace worldbus {

namespace {

constexpr auto kLook = std::chrono::milliseconds(50);         // between looks at what waits for an answer
constexpr auto kShortNap = std::chrono::microseconds(100);     // while there may be more at any moment: nobody has to wake us
constexpr auto kLongNap = std::chrono::microseconds(2000);     // while there is plenty: few at a time cost most, here and at the server
constexpr std::size_t kMany = 16;                              // so much to do after a nap makes the next one longer
constexpr auto kRestless = std::chrono::milliseconds(5);       // so long after the last work we only nap
constexpr auto kBackOff = std::chrono::milliseconds(200);      // before asking again what the log refused for the moment
constexpr auto kSilence = std::chrono::seconds(15);            // without a sign of life, three pings unanswered: the connection is dead
constexpr std::size_t kAnswers = 1024;                         // about so many answers between writes
constexpr std::size_t kBatch = 256;                            // events per write, at most,
constexpr std::size_t kBatchBytes = 1 << 17;                   // and about so many bytes

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

Sender::Sender(const Settings& settings, Ring<Queued>& queue)
    : settings_(settings), queue_(queue), flight_(settings.in_flight), looked_(Clock::now()), busy_(looked_), nap_(kShortNap) {
  connect();
  thread_ = std::thread([this] { run(); });
}

Sender::~Sender() {
  closing_ = true;
  wake();
  thread_.join();
  wire_.reset();
  abandon();
}

void Sender::connect() {
  natsInbox* inbox = nullptr;
  check(natsInbox_Create(&inbox), "an inbox");
  inbox_ = std::string(inbox) + ".";
  natsInbox_Destroy(inbox);
  auto wire = std::make_unique<Wire>(settings_);
  wire->hear(inbox_ + "*");
  wire_ = std::move(wire);
  broken_ = stuck_ = false;
}

void Sender::wake() noexcept {
  if (!asleep_.load(std::memory_order_seq_cst)) return;
  { const std::lock_guard<std::mutex> lock(sleep_); }  // it is asleep, or sees the queue before it sleeps
  woken_.notify_one();
}

bool Sender::wait_for(std::uint64_t ticket, std::chrono::milliseconds timeout) {
  std::unique_lock<std::mutex> lock(mutex_);
  return changed_.wait_for(lock, timeout, [&] { return settled_ >= ticket; });
}

void Sender::fill(Stats& stats) const {
  stats.recorded = recorded_;
  stats.refused = refused_;
  stats.unknown = unknown_;
  stats.resent = resent_;
  stats.reconnects = reconnects_;
}

void Sender::run() {
  while (!closing_.load(std::memory_order_relaxed)) {
    if (broken_) {
      come_back();
      continue;
    }
    const auto now = Clock::now();
    if (now - looked_ >= kLook) look_at_what_waits(now);
    const std::size_t worked = take_answers(now) + take_queued(now);
    stuck_ = !wire_->write();
    if (wire_->ended()) broken_ = true;
    const bool more = !stuck_ && !flight_.full() && !queue_.empty();
    wire_->tidy(!more);
    if (!more && !broken_) {
      tell_settled();
      rest(worked, now);
    }
  }
}

std::size_t Sender::take_queued(Clock::time_point now) {
  std::size_t taken = 0, bytes = 0;
  while (!broken_ && !stuck_ && taken < kBatch && bytes < kBatchBytes && take_one(now)) {
    ++taken;
    bytes += flight_.latest().bytes.size();
  }
  return taken;
}

std::size_t Sender::take_answers(Clock::time_point now) {
  std::size_t taken = 0;
  bool unserved = false;
  while (taken < kAnswers && wire_->read(now)) {  // a read gives what is there, but no more than one record of TLS
    const natsMsg* message = nullptr;
    for (auto status = wire_->next(message); status == NATS_OK || status == NATS_NO_RESPONDERS; status = wire_->next(message)) {
      ++taken;
      if (status == NATS_OK) take_answer(message, now);
      unserved = unserved || status == NATS_NO_RESPONDERS;
    }
  }
  if (unserved) hasten(now + kBackOff);
  return taken;
}

void Sender::take_answer(const natsMsg* message, Clock::time_point now) {
  const std::uint64_t number = std::strtoull(natsMsg_GetSubject(message) + inbox_.size(), nullptr, 10);
  Parcel* parcel = flight_.find(number);
  if (parcel == nullptr) return;  // a second answer to something that was sent twice
  LogAnswer answer = read_answer({natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message))});
  switch (answer.kind) {
    case LogAnswer::Kind::stored:
      if (answer.position > highest_) highest_ = answer.position;
      // Its own earlier sending is not somebody else's event.
      end(*parcel, answer.duplicate && parcel->tries == 1 ? Outcome::repeated : Outcome::recorded, answer.position, {});
      break;
    case LogAnswer::Kind::never:
      end(*parcel, Outcome::refused, 0, std::move(answer.reason));
      break;
    case LogAnswer::Kind::later:
      parcel->due = now + kBackOff;
      break;
  }
}

// Nobody served the log when something was sent; the C client does not tell which. A second sending of what was served is recognised by its id.
void Sender::hasten(Clock::time_point due) {
  for (std::uint64_t number = flight_.oldest(); number < flight_.next(); ++number)
    if (Parcel* parcel = flight_.find(number)) parcel->due = std::min(parcel->due, due);
}

void Sender::tell_settled() {
  const Parcel* oldest = flight_.find(flight_.oldest());
  const std::uint64_t settled = oldest == nullptr ? sent_ : oldest->ticket - 1;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (settled == settled_) return;
  settled_ = settled;
  changed_.notify_all();
}

// The oldest queued event enters the flight and goes out. False if there is none, or no room for it.
bool Sender::take_one(Clock::time_point now) {
  if (flight_.full()) return false;
  Parcel& parcel = flight_.coming();
  if (!queue_.pop([&](Queued& queued) { pack(queued, parcel); })) return false;
  sent_ = parcel.ticket;
  const std::uint64_t number = flight_.enter();
  parcel.first_sent = now;
  if (!damage_.empty()) {
    end(parcel, Outcome::refused, 0, damage_);
  } else if (parcel.bytes.size() > kMaxEvent) {
    end(parcel, Outcome::refused, 0, "the event has " + std::to_string(parcel.bytes.size()) + " bytes, wanted at most " + std::to_string(kMaxEvent) + ": send a reference instead");
  } else {
    send(number, parcel, now);
  }
  return true;
}

void Sender::pack(Queued& queued, Parcel& parcel) {
  parcel.ticket = queued.ticket;
  parcel.done = false;
  parcel.tries = 0;
  if (queued.time_ns == 0) queued.time_ns = now_ns();
  parcel.id = queued.id;
  if (parcel.id.empty()) ids_.next(queued.time_ns, parcel.id);
  parcel.subject.assign("evt.").append(settings_.world).append(".").append(settings_.subsystem).append(".").append(queued.entity).append(".");
  parcel.subject.append(queued.type->name());
  Envelope envelope;
  envelope.id = parcel.id;
  envelope.subsystem = settings_.subsystem;
  envelope.type = queued.type->full_name();
  envelope.world = settings_.world;
  envelope.entity = queued.entity;
  envelope.cause = queued.cause;
  envelope.correlation = queued.correlation;
  envelope.time_ns = queued.time_ns;
  envelope.deadline_ns = queued.deadline_ns;
  envelope.payload = queued.payload;
  encode(envelope, parcel.bytes);
}

void Sender::send(std::uint64_t number, Parcel& parcel, Clock::time_point now) {
  reply_.assign(inbox_).append(std::to_string(number));
  natsMsg* made = nullptr;
  natsStatus status =
      natsMsg_Create(&made, parcel.subject.c_str(), reply_.c_str(), parcel.bytes.data(), static_cast<int>(parcel.bytes.size()));
  OwnedMessage message(made);
  if (status == NATS_OK) status = natsMsgHeader_Set(made, "Nats-Msg-Id", parcel.id.c_str());
  // A connection ends when it breaks; the next one sends everything again.
  if (status != NATS_OK || !wire_->publish(std::move(message))) broken_ = true;
  if (parcel.tries++ > 0) ++resent_;
  parcel.due = now + settings_.answer_timeout;
}

void Sender::look_at_what_waits(Clock::time_point now) {
  looked_ = now;
  if (wire_ != nullptr && now - wire_->heard() >= kSilence) broken_ = true;
  for (std::uint64_t number = flight_.oldest(); number < flight_.next(); ++number) {
    Parcel* parcel = flight_.find(number);
    if (parcel == nullptr) continue;
    if (now - parcel->first_sent >= settings_.give_up) {
      end(*parcel, Outcome::unknown, 0, "no answer of the log; publish it again with the same id within two minutes to be sure");
    } else if (now >= parcel->due && !broken_ && !stuck_) {
      send(number, *parcel, now);
    }
  }
}

// A new connection in place of the broken one. What waited too long meanwhile ends; the game goes on filling the queue.
void Sender::come_back() {
  if (settings_.on_connected) settings_.on_connected(false);
  wire_.reset();
  while (!closing_.load(std::memory_order_relaxed)) {
    try {
      connect();
      if (look_at_the_log()) break;
    } catch (const Error&) {
      // not yet
    }
    broken_ = true;
    wire_.reset();
    std::unique_lock<std::mutex> sleep(sleep_);
    woken_.wait_for(sleep, kBackOff, [this] { return closing_.load(); });
    sleep.unlock();
    look_at_what_waits(Clock::now());
  }
  if (wire_ == nullptr) return;  // closing
  ++reconnects_;
  send_again();
  if (settings_.on_connected) settings_.on_connected(true);
}

// Whether the log is there. If it is shorter than it was acknowledged to be, nothing is sent any more.
bool Sender::look_at_the_log() {
  jsCtx* made = nullptr;
  jsStreamInfo* info = nullptr;
  // A request waits for its answer, which nobody would read from the sender's own connection meanwhile.
  const Connection asking(settings_, false);
  if (natsConnection_JetStream(&made, asking.raw(), nullptr) != NATS_OK) return false;
  const OwnedContext context(made);
  const natsStatus status = js_GetStreamInfo(&info, made, settings_.log.c_str(), nullptr, nullptr);
  if (status != NATS_OK && status != NATS_NOT_FOUND) return false;
  const std::uint64_t last = status == NATS_OK ? info->State.LastSeq : 0;
  jsStreamInfo_Destroy(info);
  if (last < highest_)
    damage_ = "the log came back with " + std::to_string(last) + " events, wanted at least " + std::to_string(highest_) +
              ", which it had acknowledged: stop, and restore it with `worldbus log repair --from-archive`";
  return true;
}

// Everything without an answer goes out again before anything new, in its old order: what the broken connection lost is the end of what it carried,
// and what it did not lose is recognised by its id.
void Sender::send_again() {
  for (std::uint64_t number = flight_.oldest(); number < flight_.next(); ++number) {
    Parcel* parcel = flight_.find(number);
    if (parcel == nullptr) continue;
    if (damage_.empty()) {
      send(number, *parcel, Clock::now());
    } else {
      end(*parcel, Outcome::unknown, 0, damage_);
    }
  }
}

// Waking a thread costs the waker microseconds, and the waker is the game: while events or answers keep coming we nap, and only then ask to be woken.
void Sender::rest(std::size_t worked, Clock::time_point now) {
  if (worked > 0) busy_ = now;
  if (now - busy_ < kRestless) {
    nap_ = worked >= kMany || stuck_ ? std::min(nap_ * 2, kLongNap) : std::max(nap_ / 2, kShortNap);
  } else {
    nap_ = kLongNap;
    if (flight_.empty() && !stuck_) {
      std::unique_lock<std::mutex> lock(sleep_);
      asleep_.store(true, std::memory_order_seq_cst);
      if (queue_.empty() && !closing_) woken_.wait_for(lock, kLook);
      asleep_.store(false, std::memory_order_seq_cst);
      nap_ = kShortNap;
      return;
    }
  }
  std::this_thread::sleep_for(nap_);
}

void Sender::end(Parcel& parcel, Outcome outcome, std::uint64_t position, std::string reason) {
  switch (outcome) {
    case Outcome::recorded:
    case Outcome::repeated:
      ++recorded_;
      break;
    case Outcome::refused:
      ++refused_;
      break;
    case Outcome::unknown:
    case Outcome::conflict:  // of groups alone
      ++unknown_;
      break;
  }
  if (settings_.on_receipt) {
    Receipt receipt;
    receipt.ticket = parcel.ticket;
    receipt.id = parcel.id;
    receipt.outcome = outcome;
    receipt.position = position;
    receipt.reason = std::move(reason);
    settings_.on_receipt(receipt);
  }
  flight_.end(parcel);
}

void Sender::abandon() {
  const char* why = "the client was closed";
  for (std::uint64_t number = flight_.oldest(); number < flight_.next(); ++number)
    if (Parcel* parcel = flight_.find(number)) end(*parcel, Outcome::unknown, 0, why);
  Parcel rest;
  while (queue_.pop([&](Queued& queued) { rest.ticket = queued.ticket; rest.id = queued.id; })) {
    rest.done = false;
    ++refused_;
    if (settings_.on_receipt) settings_.on_receipt(Receipt{rest.ticket, rest.id, Outcome::refused, 0, "the client was closed before it was sent"});
  }
}

}  // namespace worldbus
