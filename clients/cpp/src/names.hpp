// The bus's rules for names.
#pragma once

#include <string>
#include <string_view>

namespace worldbus {

/// 1 to 64 of A-Z a-z 0-9 _ -: a token of a subject.
bool is_token(std::string_view text);
/// 1 to 255 visible ASCII characters.
bool is_id(std::string_view text);
/// `text` if it is a token, else throws `Error` that says what `what` should be.
const std::string& token(const std::string& text, const char* what);

}  // namespace worldbus
