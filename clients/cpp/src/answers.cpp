#include "answers.hpp"

#include <charconv>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/wrappers.pb.h>
#include <optional>

namespace worldbus {

namespace {

// The server writes these answers itself, each key once, so looking for a key is enough (it writes `"seq":7` and `"duplicate": true`; a
// quotation mark inside of a text is escaped, so no text looks like a key); what does not look like that is asked for again.
std::optional<std::uint64_t> number(std::string_view json, std::string_view key) {
  const auto at = json.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  std::uint64_t value = 0;
  const char* begin = json.data() + at + key.size();
  const auto result = std::from_chars(begin, json.data() + json.size(), value);
  if (result.ec != std::errc() || result.ptr == begin) return std::nullopt;
  return value;
}

std::string_view text(std::string_view json, std::string_view key) {
  const auto at = json.find(key);
  if (at == std::string_view::npos) return {};
  const auto begin = at + key.size();
  const auto end = json.find('"', begin);
  return end == std::string_view::npos ? std::string_view{} : json.substr(begin, end - begin);
}

}  // namespace

LogAnswer read_answer(std::string_view json) {
  LogAnswer answer;
  if (json.find("\"error\":") != std::string_view::npos) {
    const auto code = number(json, "\"code\":").value_or(503);
    // 503: no leader, no space, too many at once; 408 and 429: too slow, too many. All of them pass; anything else is about the event.
    answer.kind = code == 503 || code == 408 || code == 429 || code == 500 ? LogAnswer::Kind::later : LogAnswer::Kind::never;
    answer.error = number(json, "\"err_code\":").value_or(0);
    answer.reason = text(json, "\"description\":\"");
    return answer;
  }
  const auto position = number(json, "\"seq\":");
  if (!position || *position == 0) {
    answer.reason = "an answer that is none";
    return answer;
  }
  answer.kind = LogAnswer::Kind::stored;
  answer.position = *position;
  answer.duplicate = json.find("\"duplicate\"", 0) != std::string_view::npos && json.find("true") != std::string_view::npos;
  return answer;
}

LookAnswer read_look(std::string_view json) {
  LookAnswer answer;
  if (json.find("\"error\":") != std::string_view::npos) {
    if (number(json, "\"code\":") == 404) answer.kind = LookAnswer::Kind::none;
    return answer;
  }
  const auto position = number(json, "\"seq\":");
  google::protobuf::BytesValue bytes;  // which is written in JSON as the server writes a message: as Base64
  const std::string written = '"' + std::string(text(json, "\"data\":\"")) + '"';
  if (!position || *position == 0 || !google::protobuf::util::JsonStringToMessage(written, &bytes).ok()) return answer;
  answer.kind = LookAnswer::Kind::found;
  answer.position = *position;
  answer.bytes = std::move(*bytes.mutable_value());
  return answer;
}

}  // namespace worldbus
