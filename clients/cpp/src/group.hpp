// Publishing groups, on whatever thread calls: each a batch of the log, sent again until it has an answer.
#pragma once

#include <vector>

#include "connection.hpp"
#include "worldbus/group.hpp"

namespace worldbus {

/// As `Client::publish_group`, over a connection that others use as well.
GroupReceipt publish_group(Connection& connection, const Settings& settings, const std::vector<Draft>& drafts, const std::vector<Expected>& expected);

/// The partition that the server chooses for an entity: FNV-1a of 32 bits over world and entity.
std::uint32_t partition_of(const std::string& world, const std::string& entity, std::uint32_t partitions);

}  // namespace worldbus
