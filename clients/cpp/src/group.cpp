#include "group.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <google/protobuf/util/time_util.h>
#include <optional>
#include <set>
#include <thread>

#include "answers.hpp"
#include "check.hpp"
#include "envelope.hpp"
#include "ids.hpp"
#include "io/cloudevents/v1/cloudevents.pb.h"
#include "names.hpp"

namespace worldbus {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMost = 1000;                            // events in a group
constexpr auto kPause = std::chrono::milliseconds(100);        // before another try
constexpr int kLook = 5000;                                    // milliseconds for one look into the log
constexpr int kMemory = 65 * 60;                               // seconds: more than the two minutes in which the log remembers ids, and clocks differ
constexpr std::uint64_t kDuplicate = 10201, kWrongLast = 10071, kWrongLastUnsaid = 10164;

// The log cannot be reached or read at the moment: try again.
struct Away {};

struct Lane {
  std::string subsystem;
  std::string entity;
  std::string filter;
  std::uint64_t position = 0;
  std::optional<std::size_t> own;  // its first event in the group
};

struct Part {
  std::string id;
  std::string subject;
  std::string bytes;
  std::string filter;               // of its lane
  const Lane* carries = nullptr;    // whose expectation travels with it
};

struct Held {
  std::uint64_t position = 0;
  std::string bytes;
  std::string id() const {
    io::cloudevents::v1::CloudEvent event;
    return event.ParseFromString(bytes) ? event.id() : std::string();
  }
};

GroupReceipt refused(std::string reason) {
  GroupReceipt receipt;
  receipt.outcome = Outcome::refused;
  receipt.reason = std::move(reason);
  return receipt;
}

GroupReceipt stored(std::uint64_t first) {
  GroupReceipt receipt;
  receipt.outcome = Outcome::recorded;
  receipt.first = first;
  return receipt;
}

// One group on its way into one log.
class Group {
 public:
  Group(Connection& connection, const Settings& settings) : connection_(connection), settings_(settings) {}

  // What is wrong with it, or nothing; then it is ready to be sent.
  std::string pack(const std::vector<Draft>& drafts, const std::vector<Expected>& expected);
  // Send it once, and take the answer: nothing to try again.
  std::optional<GroupReceipt> attempt(std::chrono::milliseconds timeout);

 private:
  std::string pack_one(const Draft& draft, Ids& ids);
  std::string expect(const Expected& expected, const std::vector<Draft>& drafts);
  void find_partitions();
  std::string filter(const std::string& subsystem, const std::string& entity) const;
  LogAnswer send(std::chrono::milliseconds timeout);
  GroupReceipt repeated();
  std::optional<GroupReceipt> moved();
  GroupReceipt whole(std::uint64_t first, const std::string& id);
  // One message at a time: whoever may ask for several (`DIRECT.GET`) may write any event.
  std::optional<Held> one(const std::string& body);
  // The first event behind `from` whose id is wanted.
  template <typename Wanted>
  std::optional<Held> search(std::string from, const std::string& lane, Wanted wanted);

  Connection& connection_;
  const Settings& settings_;
  std::uint32_t partitions_ = 0;
  std::vector<Part> parts_;
  std::vector<Lane> lanes_;
};

std::string Group::pack(const std::vector<Draft>& drafts, const std::vector<Expected>& expected) {
  if (drafts.empty() || drafts.size() > kMost) return "wanted a group of 1 to 1000 events, found " + std::to_string(drafts.size()) + ": split it";
  if (expected.size() > drafts.size())
    return "wanted at most one expected position for each event of a group, found " + std::to_string(expected.size()) + " for " +
           std::to_string(drafts.size()) + ": record what was read as an event of its own, or expect fewer lanes";
  Ids ids;
  for (const auto& draft : drafts)
    if (auto wrong = pack_one(draft, ids); !wrong.empty()) return wrong;
  std::set<std::string> seen;
  for (const auto& part : parts_)
    if (!seen.insert(part.id).second) return "two events of the group have the same id: give each its own";
  lanes_.reserve(expected.size());  // parts point at them
  for (const auto& lane : expected)
    if (auto wrong = expect(lane, drafts); !wrong.empty()) return wrong;
  for (const auto& lane : lanes_)
    if (lane.own) parts_[*lane.own].carries = &lane;
  for (const auto& lane : lanes_)
    if (!lane.own) std::find_if(parts_.begin(), parts_.end(), [](const Part& part) { return part.carries == nullptr; })->carries = &lane;
  return {};
}

std::string Group::pack_one(const Draft& draft, Ids& ids) {
  if (draft.event == nullptr) return "an event of the group is missing";
  const auto named = [](const std::string& id) { return id.empty() || is_id(id); };
  if (!is_token(draft.entity)) return "entity must be 1 to 64 of A-Z a-z 0-9 _ -, found \"" + draft.entity.substr(0, 80) + "\"";
  if (!named(draft.id) || !named(draft.cause) || !named(draft.correlation)) return "an id of the group is not 1 to 255 visible ASCII characters";
  if (!keeps_the_rules(*draft.event)) return "an event of the group cannot be written: text that is not UTF-8 or has a NUL, or numbers that are not finite";
  const std::int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  Part part;
  part.id = draft.id;
  if (part.id.empty()) ids.next(now, part.id);
  const std::string payload = draft.event->SerializePartialAsString();
  const std::string type(draft.event->GetDescriptor()->full_name()), name(draft.event->GetDescriptor()->name());
  Envelope envelope;
  envelope.id = part.id;
  envelope.subsystem = settings_.subsystem;
  envelope.type = type;
  envelope.world = settings_.world;
  envelope.entity = draft.entity;
  envelope.cause = draft.cause;
  envelope.correlation = draft.correlation;
  envelope.time_ns = draft.time_ns == 0 ? now : draft.time_ns;
  envelope.payload = payload;
  encode(envelope, part.bytes);
  if (part.bytes.size() > kMaxEvent)
    return "an event of the group has " + std::to_string(part.bytes.size()) + " bytes, wanted at most " + std::to_string(kMaxEvent) + ": send a reference instead";
  part.subject = "evt." + settings_.world + "." + settings_.subsystem + "." + draft.entity + "." + name;
  parts_.push_back(std::move(part));
  return {};
}

std::string Group::expect(const Expected& expected, const std::vector<Draft>& drafts) {
  Lane lane;
  lane.subsystem = expected.subsystem.empty() ? settings_.subsystem : expected.subsystem;
  lane.entity = expected.entity;
  lane.position = expected.position;
  if (!is_token(lane.subsystem) || !is_token(lane.entity)) return "an expected lane must be named by 1 to 64 of A-Z a-z 0-9 _ -, found \"" + lane.subsystem.substr(0, 80) + "/" + lane.entity.substr(0, 80) + "\"";
  if (lane.position >> 63) return "an expected position is beyond the end of any log";
  for (const auto& other : lanes_)
    if (other.subsystem == lane.subsystem && other.entity == lane.entity) return "lane " + lane.subsystem + "/" + lane.entity + " is expected twice: say once where";
  if (lane.subsystem == settings_.subsystem) {
    const auto found = std::find_if(drafts.begin(), drafts.end(), [&](const Draft& draft) { return draft.entity == lane.entity; });
    if (found != drafts.end()) lane.own = static_cast<std::size_t>(found - drafts.begin());
  }
  lanes_.push_back(std::move(lane));
  return {};
}

std::string Group::filter(const std::string& subsystem, const std::string& entity) const {
  return "evt." + std::to_string(partition_of(settings_.world, entity, partitions_)) + "." + settings_.world + "." + subsystem + "." + entity + ".*";
}

void Group::find_partitions() {
  natsMsg* raw = nullptr;
  const std::string subject = "$JS.API.STREAM.INFO." + settings_.log;
  if (natsConnection_RequestString(&raw, connection_.raw(), subject.c_str(), "", kLook) != NATS_OK) throw Away{};
  const OwnedMessage message(raw);
  const std::string json(natsMsg_GetData(raw), static_cast<std::size_t>(natsMsg_GetDataLength(raw)));
  const auto at = json.find("{{partition(");
  if (at == std::string::npos) throw Away{};  // no log yet
  partitions_ = static_cast<std::uint32_t>(std::strtoul(json.c_str() + at + 12, nullptr, 10));
  for (auto& lane : lanes_) lane.filter = filter(lane.subsystem, lane.entity);
  for (auto& part : parts_) {
    const auto end = part.subject.rfind('.');
    const auto begin = part.subject.rfind('.', end - 1) + 1;
    part.filter = filter(settings_.subsystem, part.subject.substr(begin, end - begin));
  }
}

std::optional<GroupReceipt> Group::attempt(std::chrono::milliseconds timeout) {
  if (partitions_ == 0) find_partitions();
  const LogAnswer answer = send(timeout);
  if (answer.kind == LogAnswer::Kind::stored) return stored(answer.position - parts_.size() + 1);
  if (answer.error == kDuplicate) return repeated();
  if (answer.error == kWrongLast || answer.error == kWrongLastUnsaid) return moved();
  if (answer.kind == LogAnswer::Kind::later) return std::nullopt;
  return refused("the log does not take the group: " + answer.reason);
}

LogAnswer Group::send(std::chrono::milliseconds timeout) {
  std::string batch;
  Ids().next(std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count(), batch);
  for (std::size_t index = 0; index < parts_.size(); ++index) {
    const Part& part = parts_[index];
    natsMsg* raw = nullptr;
    if (natsMsg_Create(&raw, part.subject.c_str(), nullptr, part.bytes.data(), static_cast<int>(part.bytes.size())) != NATS_OK) throw Away{};
    const OwnedMessage message(raw);
    natsMsgHeader_Set(raw, "Nats-Msg-Id", part.id.c_str());
    natsMsgHeader_Set(raw, "Nats-Batch-Id", batch.c_str());
    natsMsgHeader_Set(raw, "Nats-Batch-Sequence", std::to_string(index + 1).c_str());
    if (part.carries != nullptr) {
      natsMsgHeader_Set(raw, "Nats-Expected-Last-Subject-Sequence", std::to_string(part.carries->position).c_str());
      natsMsgHeader_Set(raw, "Nats-Expected-Last-Subject-Sequence-Subject", part.carries->filter.c_str());
    }
    if (index + 1 < parts_.size()) {
      if (natsConnection_PublishMsg(connection_.raw(), raw) != NATS_OK) throw Away{};
      continue;
    }
    natsMsgHeader_Set(raw, "Nats-Batch-Commit", "1");
    natsMsg* reply = nullptr;
    if (natsConnection_RequestMsg(&reply, connection_.raw(), raw, timeout.count()) != NATS_OK) throw Away{};
    const OwnedMessage answer(reply);
    return read_answer({natsMsg_GetData(reply), static_cast<std::size_t>(natsMsg_GetDataLength(reply))});
  }
  return {};
}

// Where the group is, of which the log says that it knows an id.
GroupReceipt Group::repeated() {
  const auto since = google::protobuf::util::TimeUtil::GetCurrentTime() - google::protobuf::util::TimeUtil::SecondsToDuration(kMemory);
  std::set<std::string> lanes;
  for (const auto& part : parts_) lanes.insert(part.filter);
  for (const auto& lane : lanes) {
    const auto wanted = [&](const std::string& id) { return std::any_of(parts_.begin(), parts_.end(), [&](const Part& part) { return part.id == id; }); };
    const auto found = search("\"start_time\":\"" + google::protobuf::util::TimeUtil::ToString(since) + "\"", lane, wanted);
    if (!found) continue;
    const std::string id = found->id();
    const auto index = std::find_if(parts_.begin(), parts_.end(), [&](const Part& part) { return part.id == id; }) - parts_.begin();
    return whole(found->position - static_cast<std::uint64_t>(index), id);
  }
  return refused("an id of the group that begins with " + parts_.front().id + " is taken by another event; nothing was recorded");
}

// Where the group is, if it is what moved its lanes itself; a conflict if something else did; nothing if none has moved.
std::optional<GroupReceipt> Group::moved() {
  std::optional<GroupReceipt> conflict;
  bool any_own = false;
  std::uint64_t behind_all = 0;
  for (const auto& lane : lanes_) {
    any_own = any_own || lane.own.has_value();
    behind_all = std::max(behind_all, lane.position);
    const auto last = one("{\"last_by_subj\":\"" + lane.filter + "\"}");
    const std::uint64_t found = last ? last->position : 0;
    if (found == lane.position) continue;
    if (!conflict) {
      conflict.emplace();
      conflict->outcome = Outcome::conflict;
      conflict->moved = {lane.entity, lane.position, lane.subsystem};
      conflict->found = found;
      conflict->reason = "expected the last event of " + lane.subsystem + "/" + lane.entity + " at " + std::to_string(lane.position) + ", found it at " +
                         std::to_string(found) + ": look again and decide again";
    }
    if (!lane.own) continue;
    // Had it been stored, its event would be the very next one of the lane.
    const auto next = one("{\"seq\":" + std::to_string(lane.position + 1) + ",\"next_by_subj\":\"" + lane.filter + "\"}");
    if (next && next->id() == parts_[*lane.own].id) return whole(next->position - *lane.own, parts_[*lane.own].id);
  }
  if (conflict && !any_own) {
    const auto& part = parts_.front();
    const auto found = search("\"seq\":" + std::to_string(behind_all + 1), part.filter, [&](const std::string& id) { return id == part.id; });
    if (found) return whole(found->position, part.id);
  }
  return conflict;
}

// The group if its first event is at `first`; a refusal if another one has its ids.
GroupReceipt Group::whole(std::uint64_t first, const std::string& id) {
  for (std::size_t index = 0; index < parts_.size(); ++index) {
    const auto there = first == 0 || first >> 63 ? std::nullopt : one("{\"seq\":" + std::to_string(first + index) + "}");
    if (!there || there->bytes != parts_[index].bytes) return refused("id " + id + " is taken by another event; nothing was recorded");
  }
  return stored(first);
}

template <typename Wanted>
std::optional<Held> Group::search(std::string from, const std::string& lane, Wanted wanted) {
  for (;;) {
    auto found = one("{" + from + ",\"next_by_subj\":\"" + lane + "\"}");
    if (!found || wanted(found->id())) return found;
    from = "\"seq\":" + std::to_string(found->position + 1);
  }
}

std::optional<Held> Group::one(const std::string& body) {
  natsMsg* raw = nullptr;
  const std::string subject = "$JS.API.STREAM.MSG.GET." + settings_.log;
  if (natsConnection_RequestString(&raw, connection_.raw(), subject.c_str(), body.c_str(), kLook) != NATS_OK) throw Away{};
  const OwnedMessage message(raw);
  LookAnswer answer = read_look({natsMsg_GetData(raw), static_cast<std::size_t>(natsMsg_GetDataLength(raw))});
  if (answer.kind == LookAnswer::Kind::later) throw Away{};
  if (answer.kind == LookAnswer::Kind::none) return std::nullopt;
  return Held{answer.position, std::move(answer.bytes)};
}

}  // namespace

std::uint32_t partition_of(const std::string& world, const std::string& entity, std::uint32_t partitions) {
  std::uint32_t digest = 2166136261u;
  for (const auto& text : {world, entity})
    for (const char byte : text) digest = (digest ^ static_cast<unsigned char>(byte)) * 16777619u;
  return partitions == 0 ? 0 : digest % partitions;
}

GroupReceipt publish_group(Connection& connection, const Settings& settings, const std::vector<Draft>& drafts, const std::vector<Expected>& expected) {
  Group group(connection, settings);
  if (auto wrong = group.pack(drafts, expected); !wrong.empty()) return refused(std::move(wrong));
  const auto until = Clock::now() + settings.give_up;
  while (Clock::now() < until) {
    try {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
      if (const auto receipt = group.attempt(std::max(std::chrono::milliseconds(1), std::min(left, settings.answer_timeout)))) return *receipt;
    } catch (const Away&) {
      // not yet
    }
    std::this_thread::sleep_for(kPause);
  }
  GroupReceipt receipt;
  receipt.reason = "a group of " + std::to_string(drafts.size()) + " events has no answer of the log; publish it again with the same ids to be sure";
  return receipt;
}

}  // namespace worldbus
