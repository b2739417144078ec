#include "subscription.hpp"

#include <vector>

#include "io/cloudevents/v1/cloudevents.pb.h"
#include "listening.hpp"
#include "names.hpp"

namespace worldbus {

namespace {

std::string any_or_token(std::string_view text, const char* what) { return text.empty() ? "*" : token(std::string(text), what); }

std::vector<std::string_view> tokens_of(std::string_view subject) {
  std::vector<std::string_view> tokens;
  std::size_t begin = 0;
  for (;;) {
    const auto end = subject.find('.', begin);
    tokens.push_back(subject.substr(begin, end - begin));
    if (end == std::string_view::npos) return tokens;
    begin = end + 1;
  }
}

std::string_view data_of(natsMsg* message) { return {natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message))}; }

// Reads `evt.<partition>.<world>.<subsystem>.<entity>.<Event>`. False for what is no event: a reader that cannot read one goes on with the next.
bool read(natsMsg* message, io::cloudevents::v1::CloudEvent& envelope, Event& event) {
  const auto tokens = tokens_of(natsMsg_GetSubject(message));
  const auto bytes = data_of(message);
  if (tokens.size() != 6 || !envelope.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
  jsMsgMetaData* about = nullptr;
  if (natsMsg_GetMetaData(&about, message) != NATS_OK) return false;
  event.position = about->Sequence.Stream;
  jsMsgMetaData_Destroy(about);
  event.world = tokens[2];
  event.subsystem = tokens[3];
  event.entity = tokens[4];
  event.name = tokens[5];
  event.id = envelope.id();
  event.type = envelope.type();
  event.payload = envelope.proto_data().value();
  return true;
}

}  // namespace

std::unique_ptr<Subscription> follow_log(Connection& connection, const Settings& settings, std::string_view subsystem, std::string_view entity,
                                         std::string_view event, std::function<void(const Event&)> heard, std::int64_t after) {
  const std::string subject = "evt.*." + settings.world + "." + any_or_token(subsystem, "subsystem") + "." + any_or_token(entity, "entity") + "." +
                              any_or_token(event, "event");
  jsCtx* made = nullptr;
  check(natsConnection_JetStream(&made, connection.raw(), nullptr), "the log");
  const OwnedContext context(made);
  jsSubOptions options;
  check(jsSubOptions_Init(&options), "the subscription");
  options.Stream = settings.log.c_str();
  options.Ordered = true;  // no gaps: what is missing is asked for again, also after a break
  options.Config.DeliverPolicy = after < 0 ? js_DeliverNew : after == 0 ? js_DeliverAll : js_DeliverByStartSequence;
  if (after > 0) options.Config.OptStartSeq = static_cast<std::uint64_t>(after) + 1;
  const auto subscribe = [&](natsSubscription** raw, natsMsgHandler handler, void* closure) {
    return js_Subscribe(raw, made, subject.c_str(), handler, closure, nullptr, &options, nullptr);
  };
  return std::make_unique<Listening>(subscribe, "cannot follow " + subject + " in the stream " + settings.log + "; has `worldbus up` made it?",
                                     [heard = std::move(heard)](natsMsg* message) {
                                       io::cloudevents::v1::CloudEvent envelope;
                                       Event it;
                                       if (read(message, envelope, it)) heard(it);
                                     });
}

std::unique_ptr<Subscription> follow_signals(Connection& connection, const Settings& settings, std::string_view kind, std::string_view key,
                                             std::function<void(const Signal&)> heard) {
  const bool keyless = kind == "clock" && key.empty();  // the world's own clock
  const std::string subject = "sig." + settings.world + "." + any_or_token(kind, "kind") + (keyless ? "" : "." + any_or_token(key, "key"));
  const auto subscribe = [&](natsSubscription** raw, natsMsgHandler handler, void* closure) {
    return natsConnection_Subscribe(raw, connection.raw(), subject.c_str(), handler, closure);
  };
  auto listening = std::make_unique<Listening>(subscribe, "cannot listen to " + subject, [heard = std::move(heard)](natsMsg* message) {
    const auto tokens = tokens_of(natsMsg_GetSubject(message));
    if (tokens.size() != 3 && tokens.size() != 4) return;
    heard(Signal{std::string(tokens[1]), std::string(tokens[2]), tokens.size() == 4 ? std::string(tokens[3]) : "", data_of(message)});
  });
  check(natsConnection_FlushTimeout(connection.raw(), 5000), "cannot listen to " + subject);  // from here on everything is heard
  return listening;
}

}  // namespace worldbus
