"""Every query in docs/reference is answered, from tables that the handlers' own words have filled."""

from __future__ import annotations

import re
from pathlib import Path

from bus.testing import Rehearsal
from handlers.state_manager import typed
from projections import Listed, Projector
from projections.query import query
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined, PlayerLeft
from schemas.gen.worldbus.state.v1.state_pb2 import SaveRequested, StateChangeRequested
from schemas.gen.worldbus.time.v1.time_pb2 import ClockStartRequested, RealTimePassed, ScheduledEventRequested
from schemas.gen.worldbus.weather.v1.weather_pb2 import ForecastRequested, ZoneDeclared
from tests.duskmarket import ALL, PROJECTIONS

PAGES = Path(__file__).parents[3] / "docs" / "reference"
OURS = ("time", "weather", "player", "state")


def queries(page: str) -> list[str]:
    """The statements of a page."""
    blocks = re.findall(r"^```sql\n(.*?)^```$", (PAGES / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)
    return [statement.strip() for block in blocks for statement in block.split(";\n") if statement.strip()]


def an_evening() -> Rehearsal:
    town = Rehearsal(*ALL, world="duskmarket")
    town.say(ClockStartRequested(scale=3_600_000), entity="clock")
    town.say(ScheduledEventRequested(name="bell", in_world_ms=10**9), entity="clock")
    town.say(ZoneDeclared(climate="harbour", seed=3), entity="quay")
    for player in ("mira", "tam"):
        town.say(PlayerJoined(display_name=player.title(), zone="quay"), entity=player)
    town.say(PlayerLeft(), entity="tam")
    for _ in range(24):
        town.say(RealTimePassed(real_ms=1_000), entity="clock")
    town.say(ForecastRequested(), entity="quay")
    town.say(StateChangeRequested(set=typed({"gold": 3})), entity="mira")
    town.say(SaveRequested(slot="camp"), entity="mira")
    return town


async def test_every_documented_query_is_answered(database: str, reader: str) -> None:
    await Projector(database, list(PROJECTIONS)).run(Listed(an_evening().log))

    for page in OURS:
        found = queries(page)
        assert len(found) >= 3, f"{page}.md shows too few queries"
        for statement in found:
            assert (await query(reader, statement)).rows, f"{page}.md: no row for {statement}"
