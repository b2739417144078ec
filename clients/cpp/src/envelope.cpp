#include "envelope.hpp"

namespace worldbus {

namespace {

void varint(std::string& out, std::uint64_t value) {
  while (value > 0x7f) {
    out.push_back(static_cast<char>((value & 0x7f) | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

std::size_t varint_size(std::uint64_t value) {
  std::size_t size = 1;
  while (value > 0x7f) {
    value >>= 7;
    ++size;
  }
  return size;
}

std::size_t field_size(std::size_t length) { return 1 + varint_size(length) + length; }

void field(std::string& out, char tag, std::string_view value) {
  out.push_back(tag);
  varint(out, value.size());
  out.append(value);
}

// One entry of the attribute map: field 5, {key = 1, value = 2 {ce_string = 3}}.
void text(std::string& out, std::string_view name, std::string_view value) {
  const std::size_t inner = field_size(value.size());
  out.push_back('\x2a');
  varint(out, field_size(name.size()) + field_size(inner));
  field(out, '\x0a', name);
  out.push_back('\x12');
  varint(out, inner);
  field(out, '\x1a', value);
}

// As `text`, with value = 2 {ce_timestamp = 7 {seconds = 1, nanos = 2}}.
void moment(std::string& out, std::string_view name, std::int64_t ns) {
  std::int64_t seconds = ns / 1'000'000'000, nanos = ns % 1'000'000'000;
  if (nanos < 0) {
    nanos += 1'000'000'000;
    --seconds;
  }
  std::string stamp;  // 17 bytes at most
  if (seconds != 0) {
    stamp.push_back('\x08');
    varint(stamp, static_cast<std::uint64_t>(seconds));
  }
  if (nanos != 0) {
    stamp.push_back('\x10');
    varint(stamp, static_cast<std::uint64_t>(nanos));
  }
  const std::size_t inner = field_size(stamp.size());
  out.push_back('\x2a');
  varint(out, field_size(name.size()) + field_size(inner));
  field(out, '\x0a', name);
  out.push_back('\x12');
  varint(out, inner);
  field(out, '\x3a', stamp);
}

constexpr std::string_view kSource = "/worldbus/";
constexpr std::string_view kTypeUrl = "type.googleapis.com/";

}  // namespace

void encode(const Envelope& it, std::string& out) {
  out.clear();
  field(out, '\x0a', it.id);
  out.push_back('\x12');
  varint(out, kSource.size() + it.subsystem.size());
  out.append(kSource).append(it.subsystem);
  field(out, '\x1a', "1.0");
  field(out, '\x22', it.type);
  text(out, "subject", it.entity);
  text(out, "world", it.world);
  moment(out, "time", it.time_ns);
  if (!it.cause.empty()) text(out, "causationid", it.cause);
  if (!it.correlation.empty()) text(out, "correlationid", it.correlation);
  if (it.deadline_ns != 0) moment(out, "deadline", it.deadline_ns);
  const std::size_t url = kTypeUrl.size() + it.type.size();
  out.push_back('\x42');
  varint(out, field_size(url) + (it.payload.empty() ? 0 : field_size(it.payload.size())));
  out.push_back('\x0a');
  varint(out, url);
  out.append(kTypeUrl).append(it.type);
  if (!it.payload.empty()) field(out, '\x12', it.payload);
}

}  // namespace worldbus
