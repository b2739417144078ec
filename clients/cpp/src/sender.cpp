#include "sender.hpp"

#include <cstdlib>
#include <cstring>
#include <thread>

#include "envelope.hpp"

namespace worldbus {

namespace {

constexpr auto kLook = std::chrono::milliseconds(50);     // between looks at what waits for an answer
constexpr auto kNap = std::chrono::microseconds(100);     // while there may be more at any moment: nobody has to wake us
constexpr auto kFullNap = std::chrono::milliseconds(1);    // while the flight is full: the server has plenty to do, and few answers at a time cost most
constexpr auto kRestless = std::chrono::milliseconds(5);   // so long after the last work we only nap
constexpr auto kBackOff = std::chrono::milliseconds(200);  // before asking again what the log refused for the moment

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

Sender::Sender(const Settings& settings, Ring<Queued>& queue)
    : settings_(settings), queue_(queue), heard_(settings.in_flight * 2), flight_(settings.in_flight), looked_(Clock::now()) {
  connect();
  thread_ = std::thread([this] { run(); });
}

Sender::~Sender() {
  closing_ = true;
  wake();
  thread_.join();
  answers_.reset();
  connection_.reset();
  abandon();
}

void Sender::connect() {
  broken_ = false;
  auto connection = std::make_unique<Connection>(settings_, false, [this] {
    broken_ = true;
    wake();
  });
  natsInbox* inbox = nullptr;
  check(natsInbox_Create(&inbox), "an inbox");
  inbox_ = std::string(inbox) + ".";
  natsInbox_Destroy(inbox);
  const std::string subject = inbox_ + "*";
  natsConnection* raw = connection->raw();
  answers_ = std::make_unique<Listening>(
      [&](natsSubscription** made, natsMsgHandler handler, void* closure) { return natsConnection_Subscribe(made, raw, subject.c_str(), handler, closure); },
      "the answers' inbox", [this](natsMsg* message) { hear(message); });
  connection_ = std::move(connection);
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
  auto busy = Clock::now();
  while (!closing_.load(std::memory_order_relaxed)) {
    if (broken_) come_back();
    const auto now = Clock::now();
    if (now - looked_ >= kLook) look_at_what_waits(now);
    bool worked = take_answers();
    for (int i = 0; i < 64 && !broken_ && take_one(); ++i) worked = true;
    if (worked) {
      busy = now;
    } else {
      tell_settled();
      rest(busy);
    }
  }
}

bool Sender::take_answers() {
  const std::uint64_t before = flight_.oldest();
  bool any = false;
  const auto take = [&](Heard& heard) {
    any = true;
    Parcel* parcel = flight_.find(heard.number);
    if (parcel == nullptr) return;  // a second answer to something that was sent twice
    switch (heard.answer.kind) {
      case LogAnswer::Kind::stored:
        if (heard.answer.position > highest_) highest_ = heard.answer.position;
        // Its own earlier sending is not somebody else's event.
        end(*parcel, heard.answer.duplicate && parcel->tries == 1 ? Outcome::repeated : Outcome::recorded, heard.answer.position, {});
        break;
      case LogAnswer::Kind::never:
        end(*parcel, Outcome::refused, 0, std::move(heard.answer.reason));
        break;
      case LogAnswer::Kind::later:
        parcel->due = Clock::now() + kBackOff;
        break;
    }
  };
  while (heard_.pop(take)) {
  }
  if (flight_.oldest() != before) tell_settled();
  return any;
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
bool Sender::take_one() {
  if (flight_.full()) return false;
  Parcel& parcel = flight_.coming();
  if (!queue_.pop([&](Queued& queued) { pack(queued, parcel); })) return false;
  sent_ = parcel.ticket;
  const std::uint64_t number = flight_.enter();
  parcel.first_sent = Clock::now();
  if (!damage_.empty()) {
    end(parcel, Outcome::refused, 0, damage_);
  } else if (parcel.bytes.size() > kMaxEvent) {
    end(parcel, Outcome::refused, 0, "the event has " + std::to_string(parcel.bytes.size()) + " bytes, wanted at most " + std::to_string(kMaxEvent) + ": send a reference instead");
  } else {
    send(number, parcel);
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

void Sender::send(std::uint64_t number, Parcel& parcel) {
  const std::string reply = inbox_ + std::to_string(number);
  natsMsg* made = nullptr;
  natsStatus status =
      natsMsg_Create(&made, parcel.subject.c_str(), reply.c_str(), parcel.bytes.data(), static_cast<int>(parcel.bytes.size()));
  const OwnedMessage message(made);
  if (status == NATS_OK) status = natsMsgHeader_Set(made, "Nats-Msg-Id", parcel.id.c_str());
  if (status == NATS_OK) status = natsConnection_PublishMsg(connection_->raw(), made);
  if (parcel.tries++ > 0) ++resent_;
  if (status != NATS_OK) broken_ = true;  // a connection ends when it breaks; the next one sends everything again
  parcel.due = Clock::now() + settings_.answer_timeout;
}

void Sender::look_at_what_waits(Clock::time_point now) {
  looked_ = now;
  for (std::uint64_t number = flight_.oldest(); number < flight_.next(); ++number) {
    Parcel* parcel = flight_.find(number);
    if (parcel == nullptr) continue;
    if (now - parcel->first_sent >= settings_.give_up) {
      end(*parcel, Outcome::unknown, 0, "no answer of the log; publish it again with the same id within two minutes to be sure");
    } else if (now >= parcel->due && !broken_) {
      send(number, *parcel);
    }
  }
}

// A new connection in place of the broken one. What waited too long meanwhile ends; the game goes on filling the queue.
void Sender::come_back() {
  if (settings_.on_connected) settings_.on_connected(false);
  answers_.reset();
  connection_.reset();
  while (!closing_.load(std::memory_order_relaxed)) {
    try {
      connect();
      if (look_at_the_log()) break;
    } catch (const Error&) {
      // not yet
    }
    broken_ = true;
    answers_.reset();
    connection_.reset();
    std::unique_lock<std::mutex> sleep(sleep_);
    woken_.wait_for(sleep, kBackOff, [this] { return closing_.load(); });
    sleep.unlock();
    look_at_what_waits(Clock::now());
  }
  if (connection_ == nullptr) return;  // closing
  ++reconnects_;
  send_again();
  if (settings_.on_connected) settings_.on_connected(true);
}

// Whether the log is there. If it is shorter than it was acknowledged to be, nothing is sent any more.
bool Sender::look_at_the_log() {
  jsCtx* made = nullptr;
  jsStreamInfo* info = nullptr;
  if (natsConnection_JetStream(&made, connection_->raw(), nullptr) != NATS_OK) return false;
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
      send(number, *parcel);
    } else {
      end(*parcel, Outcome::unknown, 0, damage_);
    }
  }
}

// Waking a thread costs the waker microseconds, and the waker is the game: while events keep coming we nap, and only then ask to be woken.
void Sender::rest(Clock::time_point busy) {
  if (Clock::now() - busy < kRestless) {
    std::this_thread::sleep_for(flight_.full() ? std::chrono::microseconds(kFullNap) : kNap);
    return;
  }
  std::unique_lock<std::mutex> lock(sleep_);
  asleep_.store(true, std::memory_order_seq_cst);
  if ((queue_.empty() || flight_.full()) && heard_.empty() && !broken_ && !closing_) woken_.wait_for(lock, kLook);
  asleep_.store(false, std::memory_order_seq_cst);
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

// On a thread of the C client.
void Sender::hear(natsMsg* message) {
  const char* subject = natsMsg_GetSubject(message);
  Heard heard;
  heard.number = std::strtoull(std::strrchr(subject, '.') + 1, nullptr, 10);
  // Without a body: nobody serves the log just now.
  if (natsMsg_GetDataLength(message) > 0)
    heard.answer = read_answer({natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message))});
  // There is room for two answers to everything under way; more come only while things are sent again and again.
  while (!heard_.push([&](Heard& cell, std::uint64_t) { cell = std::move(heard); })) {
    if (closing_) return;
    std::this_thread::yield();
  }
  wake();
}

}  // namespace worldbus
