#include "check.hpp"

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace worldbus {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr int kMaxDepth = 32;

// RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF.
bool is_text(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead == 0) return false;
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const int more = lead >= 0xc2 && lead <= 0xdf ? 1 : (lead & 0xf0) == 0xe0 ? 2 : lead >= 0xf0 && lead <= 0xf4 ? 3 : 0;
    if (more == 0 || i + static_cast<std::size_t>(more) >= text.size()) return false;
    std::uint32_t point = lead & (0x3f >> more);
    for (int k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + static_cast<std::size_t>(k)]);
      if ((next & 0xc0) != 0x80) return false;
      point = (point << 6) | (next & 0x3f);
    }
    if ((more == 2 && (point < 0x800 || (point >= 0xd800 && point <= 0xdfff))) || (more == 3 && (point < 0x10000 || point > 0x10ffff))) return false;
    i += static_cast<std::size_t>(more) + 1;
  }
  return true;
}

constexpr std::int64_t kFirstSecond = -62'135'596'800, kLastSecond = 253'402'300'799;  // the years 1 to 9999
constexpr std::int64_t kLongest = 315'576'000'000;                                       // seconds of 10,000 years
constexpr std::int64_t kNanos = 1'000'000'000;

// Times and durations that JSON cannot say would stop whoever shows them.
bool in_range(const Message& message) {
  const auto* descriptor = message.GetDescriptor();
  const bool moment = descriptor->full_name() == "google.protobuf.Timestamp";
  if (!moment && descriptor->full_name() != "google.protobuf.Duration") return true;
  const Reflection& reflection = *message.GetReflection();
  const std::int64_t seconds = reflection.GetInt64(message, descriptor->FindFieldByNumber(1));
  const std::int64_t nanos = reflection.GetInt32(message, descriptor->FindFieldByNumber(2));
  if (moment) return seconds >= kFirstSecond && seconds <= kLastSecond && nanos >= 0 && nanos < kNanos;
  const bool mixed = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
  return seconds >= -kLongest && seconds <= kLongest && nanos > -kNanos && nanos < kNanos && !mixed;
}

bool field_keeps(const Message& message, const Reflection& reflection, const FieldDescriptor& field, int depth) {
  const int count = field.is_repeated() ? reflection.FieldSize(message, &field) : 1;
  for (int i = 0; i < count; ++i) {
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING: {
        if (field.type() != FieldDescriptor::TYPE_STRING) break;
        std::string room;
        const std::string& text = field.is_repeated() ? reflection.GetRepeatedStringReference(message, &field, i, &room)
                                                      : reflection.GetStringReference(message, &field, &room);
        if (!is_text(text)) return false;
        break;
      }
      case FieldDescriptor::CPPTYPE_DOUBLE:
        if (!std::isfinite(field.is_repeated() ? reflection.GetRepeatedDouble(message, &field, i) : reflection.GetDouble(message, &field))) return false;
        break;
      case FieldDescriptor::CPPTYPE_FLOAT:
        if (!std::isfinite(field.is_repeated() ? reflection.GetRepeatedFloat(message, &field, i) : reflection.GetFloat(message, &field))) return false;
        break;
      case FieldDescriptor::CPPTYPE_MESSAGE: {
        const Message& inner =
            field.is_repeated() ? reflection.GetRepeatedMessage(message, &field, i) : reflection.GetMessage(message, &field);
        if (!keeps_the_rules(inner, depth + 1)) return false;
        break;
      }
      default:
        break;
    }
  }
  return true;
}

}  // namespace

bool keeps_the_rules(const Message& message, int depth) {
  if (depth > kMaxDepth || !in_range(message)) return false;
  const Reflection& reflection = *message.GetReflection();
  const auto* descriptor = message.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor& field = *descriptor->field(i);
    const bool set = field.is_repeated() ? reflection.FieldSize(message, &field) > 0
                     : field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE || field.containing_oneof() != nullptr
                         ? reflection.HasField(message, &field)
                         : true;
    if (set && !field_keeps(message, reflection, field, depth)) return false;
  }
  return true;
}

bool is_runtimes(const Message& message) {
  constexpr std::string_view kRuntime = "worldbus.runtime.";
  return std::string_view(message.GetDescriptor()->full_name()).substr(0, kRuntime.size()) == kRuntime;
}

}  // namespace worldbus
