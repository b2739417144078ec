// What the bus refuses in a payload, found before it is queued.
#pragma once

#include <google/protobuf/message.h>

namespace worldbus {

/// Whether every text is UTF-8 without NUL, every number finite, every time and duration in its range, and messages lie at most 32 deep in
/// one another.
bool keeps_the_rules(const google::protobuf::Message& message, int depth = 0);

/// Whether it is a record of the handlers' runtime, which nobody else publishes.
bool is_runtimes(const google::protobuf::Message& message);

}  // namespace worldbus
