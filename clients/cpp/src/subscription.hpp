// Following the log, and listening to signals.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "connection.hpp"
#include "worldbus/client.hpp"

namespace worldbus {

std::unique_ptr<Subscription> follow_log(Connection& connection, const Settings& settings, std::string_view subsystem, std::string_view entity,
                                         std::string_view event, std::function<void(const Event&)> heard, std::int64_t after);

std::unique_ptr<Subscription> follow_signals(Connection& connection, const Settings& settings, std::string_view kind, std::string_view key,
                                             std::function<void(const Signal&)> heard);

}  // namespace worldbus
