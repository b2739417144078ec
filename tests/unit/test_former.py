"""Names of the release before work for one version, with a warning that says the new one."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import worldbus
from worldbus import quiet
from worldbus.former import GONE
from worldbus.games import current

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "python"
NAMES: dict[str, tuple[str, Any]] = {
    "worldbus.compose.ENGINE_LINE": ("worldbus.games.current().engine_line", lambda: current().engine_line),
    "worldbus.demo.run.NotQuiet": ("worldbus.quiet.NotQuiet", lambda: quiet.NotQuiet),
    "worldbus.demo.run.quiet": ("worldbus.until_quiet", lambda: quiet.until_quiet),
    "worldbus.demo.run.QUIET_S": ("worldbus.quiet.QUIET_S", lambda: quiet.QUIET_S),
}
USES_THE_FORMER_PACKAGE = """
import sys, warnings
sys.path[:] = sys.argv[1:]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from schemas.gen_better.worldbus.player.v1 import PlayerMoved
    import schemas.gen_better.worldbus.npc.v1 as npc
for one in caught:
    print(one.category.__name__, one.filename, one.message)
import worldbus_client.gen.worldbus.player.v1 as now, worldbus_client.gen.worldbus.npc.v1 as npc_now
from worldbus_client.envelope import pack
print(PlayerMoved is now.PlayerMoved, npc is npc_now, npc.__spec__.name)
print(pack("main", "game", "mira", PlayerMoved(zone="quay"), id="", cause="", correlation="", time_ns=0).subject)
"""


def release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


@pytest.mark.parametrize("former", sorted(NAMES))
def test_a_former_name_is_the_new_thing_and_says_so(former: str) -> None:
    module, _, name = former.rpartition(".")
    now, wanted = NAMES[former]

    with pytest.warns(DeprecationWarning, match=re.escape(f"{former} is {now} since 0.2, and gone in {GONE}")) as warned:
        found = getattr(import_module(module), name)

    assert found == wanted()
    assert [one.filename for one in warned] == [__file__]


def test_the_emitters_of_the_game_are_asked_for_as_before() -> None:
    from worldbus import emitters

    with pytest.warns(DeprecationWarning, match=r"worldbus\.games\.current\(\)\.emitters"):
        found = emitters.emitters  # type: ignore[attr-defined]

    assert found() is current().emitters


@pytest.mark.parametrize("module", ["worldbus.compose", "worldbus.demo.run", "worldbus.emitters"])
def test_another_name_is_not_there(module: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'nonsense'"):
        _ = import_module(module).nonsense


def test_the_dataclasses_of_events_are_the_same_under_their_former_name() -> None:
    """In an interpreter that has the client alone, as its wheel lays it out."""
    path = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib")] + [f"{sysconfig.get_path('stdlib')}/lib-dynload"]
    done = subprocess.run(
        [sys.executable, "-S", "-c", USES_THE_FORMER_PACKAGE, str(CLIENT), str(CLIENT / "former"), *path],
        cwd=ROOT / "docs",
        text=True,
        capture_output=True,
        check=False,
    )

    assert done.stdout.splitlines() == [
        "DeprecationWarning <string> schemas.gen_better is worldbus_client.gen since 0.2, and gone in 0.3: import from there",
        "True True worldbus_client.gen.worldbus.npc.v1",
        "evt.main.game.mira.PlayerMoved",
    ], done.stderr


def test_former_names_are_gone_in_the_release_that_was_promised() -> None:
    """Next step when this fails: remove them, with worldbus/former.py and clients/python/former, and their lines in versions.md."""
    assert release(worldbus.__version__) < release(GONE)
