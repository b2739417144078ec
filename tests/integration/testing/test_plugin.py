"""The pytest plugin, in a folder and a process of its own, found as pip would have installed it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("bus", "handlers", "inference", "migrations", "projections", "schemas", "worldbus", "worlds")
USED = """
import asyncio
from pathlib import Path

import asyncpg
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from projections import Listed, Projector
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined
from worldbus import Change, Content, Draft, Event, Projection, Settings, Table, errors, open_world, serve
from worldbus.standard import player, projections
from worldbus.testing import assert_projection_laws, recorded

MIRA = Draft(data=PlayerJoined(display_name="Mira", zone="quay"), world="main", entity="mira")
settings.register_profile("quick", phases=[Phase.generate])  # the smallest counterexample is not looked for
settings.load_profile("quick")
TWICE = [recorded(MIRA.data, position=position) for position in (1, 2)]
CROWD = Table("crowd", key=("world", "zone"), adds=("joined",))


def joined(event: Event, it: PlayerJoined) -> Change:
    return CROWD.put(event.world, it.zone, joined=1)


def crowd(on=joined) -> Projection:
    return Projection(
        name="crowd",
        version=1,
        schema="CREATE TABLE crowd (world text, zone text, joined bigint NOT NULL DEFAULT 0, position bigint, PRIMARY KEY (world, zone))",
        tables=(CROWD,),
        on={PlayerJoined: on},
    )


def test_a_projection_keeps_the_laws(worldbus_database: str) -> None:
    assert_projection_laws(worldbus_database, crowd(), examples=3)
    assert_projection_laws(worldbus_database, crowd(), examples=3)  # it is left as it was found


def test_a_projection_with_a_memory_breaks_them(worldbus_database: str) -> None:
    heard = []

    def remembers(event: Event, it: PlayerJoined) -> Change:
        heard.append(event)
        return CROWD.put(event.world, it.zone, joined=len(heard))

    with pytest.raises(AssertionError, match="gives other tables|give other tables"):
        assert_projection_laws(worldbus_database, crowd(remembers), histories=st.just(TWICE))


def test_a_database_with_a_history_is_not_emptied(worldbus_database: str) -> None:
    projector = Projector(worldbus_database, [crowd()])
    asyncio.run(projector.run(Listed(TWICE), follow=False))
    with pytest.raises(errors.Misuse, match="found one at position 2"):
        assert_projection_laws(worldbus_database, crowd())


async def test_the_laws_say_that_they_want_no_loop(worldbus_database: str) -> None:
    with pytest.raises(errors.Misuse, match="no coroutine"):
        assert_projection_laws(worldbus_database, crowd())


@pytest.mark.parametrize("time", [1, 2])
async def test_a_world_is_a_new_one_each_time(worldbus_world, time: int) -> None:
    assert await worldbus_world.publisher.publish(MIRA) == 1
    connection = await asyncpg.connect(worldbus_world.servers.postgres_dsn)
    assert await connection.fetchval("SELECT position FROM worldbus.checkpoint") == 0
    await connection.close()


async def test_a_world_is_served(worldbus_settings: Settings) -> None:
    async with open_world(worldbus_settings) as world, serve(world, handlers=[player.under(Content(Path("none")))], projections=[crowd()]):
        await world.publisher.publish(MIRA)
        await world.log.wait_for(2, timeout=60)
"""
IDLE = """
import sys

def test_nothing_of_worldbus_is_loaded():
    assert sorted(name for name in sys.modules if name.partition('.')[0] in {packages}) == [
        'worldbus', 'worldbus.pytest_plugin', 'worldbus.pytest_plugin.opened'
    ]

def test_the_hash_of_rules_is_that_of_the_bus():
    {hashed}
    assert code_of(entities.__code__).digest.hex() == {digest!r}

def test_assertions_of_the_words_explain_themselves():
    from bus.testing import given
    import bus.testing
    assert type(bus.testing.__loader__).__name__ == "AssertionRewritingHook"
"""
CONFIG = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\naddopts = -p no:cacheprovider -p no:schemathesis\n"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder on Python's path that says what an installed wheel of ours says of itself."""
    said = tmp_path / "site" / "worldbus_of_the_test-0.1.0.dist-info"
    said.mkdir(parents=True)
    (said / "METADATA").write_text("Metadata-Version: 2.1\nName: worldbus-of-the-test\nVersion: 0.1.0\n")
    (said / "entry_points.txt").write_text("[pytest11]\nworldbus = worldbus.pytest_plugin\n")
    (said / "RECORD").write_text("".join(f"{name}/__init__.py,,\n" for name in PACKAGES))
    return tmp_path / "site"


def run(folder: Path, site: Path, test: str, *words: str) -> subprocess.CompletedProcess[str]:
    """pytest on one file in `folder`, with worldbus on the path."""
    (folder / "pytest.ini").write_text(CONFIG)
    (folder / "test_it.py").write_text(test)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "HYPOTHESIS"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *words],
        cwd=folder,
        env={**environment, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"},
        text=True,
        capture_output=True,
        check=False,
    )


def test_it_costs_nothing_until_a_fixture_is_used(tmp_path: Path, installed: Path) -> None:
    hashed = "from bus.code_digest import code_of; from handlers.weather_manager import entities"  # which asserts something
    program = f"{hashed}; print(code_of(entities.__code__).digest.hex())"
    there = subprocess.run([sys.executable, "-c", program], cwd=ROOT, text=True, capture_output=True, check=True).stdout.strip()

    done = run(tmp_path, installed, IDLE.format(packages=PACKAGES, hashed=hashed, digest=there))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_its_fixtures_are_a_real_world(tmp_path: Path, installed: Path) -> None:
    done = run(tmp_path, installed, USED)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout


def test_without_an_asyncio_plugin_the_other_fixtures_work(tmp_path: Path, installed: Path) -> None:
    test = (
        "def test_a_folder(worldbus_folder):\n    assert worldbus_folder.is_dir()\n\n"
        "def test_a_world_is_missed(worldbus_world):\n    pass\n"
    )
    (tmp_path / "pytest.ini").write_text("")
    done = run(tmp_path, installed, test, "-c", "/dev/null", "-p", "no:asyncio", "-p", "no:schemathesis", "--rootdir", str(tmp_path))

    assert "1 passed, 1 error" in done.stdout
    assert "fixture 'worldbus_world' not found" in done.stdout


def test_the_package_names_its_plugin() -> None:
    text = (ROOT / "pyproject.toml").read_text()

    assert '[project.entry-points.pytest11]\nworldbus = "worldbus.pytest_plugin"\n' in text
