#include "names.hpp"

#include <algorithm>

#include "worldbus/settings.hpp"

namespace worldbus {

namespace {

bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'; }

}  // namespace

bool is_token(std::string_view text) { return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), is_word); }

bool is_id(std::string_view text) {
  return !text.empty() && text.size() <= 255 && std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x21 && c <= 0x7e; });
}

const std::string& token(const std::string& text, const char* what) {
  if (!is_token(text)) throw Error(std::string(what) + " must be 1 to 64 of A-Z a-z 0-9 _ -, found \"" + text.substr(0, 80) + "\"");
  return text;
}

}  // namespace worldbus
