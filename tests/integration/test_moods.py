"""No state of Postgres ends a world: the log and the handlers go on, the projector waits and says why, the tables catch up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.moods import live
from bench.postgres_moods import MOODS

WHY = {
    "read-only": "25006",
    "locked": "55P03",
    "no-connections": "55000",
    "no-login": "28000",
    "out-of-connections": "53300",
    "disk-full": "No space left on device",
}
"""What the projector says of each, beside the connections that end."""


@pytest.mark.timeout(900)  # a working day of moods, on a machine that may be busy
async def test_up_survives_every_mood_of_its_postgres_under_load(data_folder: Path) -> None:
    moods = {name: mood for name, mood in MOODS.items() if name != "disk-full" or os.geteuid() == 0}

    lived = await live(data_folder / "d", moods)

    assert len(lived.acknowledged) > 100
    assert {name: lived.recorded.get(name) for name in lived.acknowledged} == lived.acknowledged
    assert {name: lived.answers[name] for name in lived.recorded} == dict.fromkeys(lived.recorded, 1)
    assert [name for name in moods if not lived.answered_in(name)] == []
    assert [name for name in moods if name in WHY and not any(WHY[name] in reason for reason in lived.waited(name))] == []
    assert lived.shown == lived.zones
    assert lived.status == 0
    if "disk-full" not in moods:
        pytest.skip("all moods but a full disk, which needs root")
