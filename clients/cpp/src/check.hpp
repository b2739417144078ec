// What the bus refuses in a payload, found before it is queued.
#pragma once

#include <google/protobuf/message.h>

namespace worldbus {

/// Whether every text is UTF-8 without NUL, every number finite, and messages lie at most 32 deep in one another.
bool keeps_the_rules(const google::protobuf::Message& message, int depth = 0);

}  // namespace worldbus
