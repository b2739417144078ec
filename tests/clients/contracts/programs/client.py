"""A game server as one would write it with a client of openapi-python-client: publishes, sends again, reads, searches."""

import json
import sys
from datetime import UTC, datetime

from worldbus_gateway_client import AuthenticatedClient
from worldbus_gateway_client.api.default import look, publish, publish_batch, search
from worldbus_gateway_client.models import (
    BatchRecorded,
    Found,
    PlayerJoined,
    PlayerJoinedEvent,
    PlayerLeftEvent,
    PlayerMoved,
    PlayerMovedEvent,
    Problem,
    Recorded,
    RecordedEvent,
)

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
join = PlayerJoinedEvent(
    type_="worldbus.player.v1.PlayerJoined",
    subject="mira",
    id="python-1",
    expected=0,
    time=datetime(2026, 11, 22, 12, tzinfo=UTC),
    data=PlayerJoined(display_name="Mira", zone="quay"),
)
first = publish.sync_detailed(client=client, body=join)
again = publish.sync_detailed(client=client, body=join)
assert isinstance(first.parsed, Recorded), first.content
assert isinstance(again.parsed, Recorded), again.content
batch = publish_batch.sync_detailed(
    client=client,
    atomic=True,
    expected=["game/otto:0"],
    body=[
        PlayerMovedEvent(
            type_="worldbus.player.v1.PlayerMoved",
            subject="mira",
            expected=first.parsed.position,
            data=PlayerMoved(zone="market", x=3.5),
        ),
        PlayerLeftEvent(type_="worldbus.player.v1.PlayerLeft", subject="mira"),
        PlayerLeftEvent(type_="worldbus.player.v1.PlayerLeft", subject="mira"),
    ],
)
assert isinstance(batch.parsed, BatchRecorded), batch.content
join.id = "python-2"
stale = publish.sync_detailed(client=client, body=join)
assert isinstance(stale.parsed, Problem), stale.content
event = look.sync(first.parsed.position, client=client)
assert isinstance(event, RecordedEvent), event
found = search.sync(client=client, text="lantern", tokens=["public"])
assert isinstance(found, Found), found
sys.stdout.write(
    json.dumps(
        {
            "first": [first.status_code, first.parsed.position, first.parsed.replayed],
            "again": [again.status_code, again.parsed.position, again.parsed.replayed],
            "batch": [batch.status_code, [one.position for one in batch.parsed.results]],
            "stale": [stale.status_code, stale.parsed.code, stale.parsed.found],
            "read": [event.id, event.type_, event.subject, event.world, event.position, event.data["display_name"]],
            "hits": [hit.body for hit in found.hits],
        }
    )
)
