"""`worldbus demo` plays the bots of whichever game is named, with what that game has of clock, lore, money and knowledge."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_commands import FILE
from tests.integration.cli.conftest import COMMAND, environment

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "bring-your-own-game.md"
GAME = "harbour:game"
BARE = '''
"""A game that has neither clock nor lore, money nor knowledge, and nobody who plays it."""

from dataclasses import replace
from pathlib import Path

from visitors import Visitors
from worldbus import Content, Game
from worldbus.standard import player, projections

empty = Game(name="bare", handlers=(player,), projections=(projections.players,), content=Content(Path("nowhere")))


class Turns(Visitors):
    """Nobody of their own, and one who comes in the second turn."""

    def __init__(self, stage):
        super().__init__(replace(stage, players=0))

    def opening(self):
        return ()

    def turn(self, number):
        from schemas.gen.worldbus.player.v1.player_pb2 import PlayerJoined

        return [self.draft(PlayerJoined(display_name="Mira", zone="pier"), "mira")] if number == 2 else []


game = Game(name="bare", handlers=(player,), projections=(projections.players,), content=Content(Path("nowhere")), bots=Turns)
'''


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The game of the page, as somebody writes it in a folder of their own; short, because sockets have a limit."""
    path = Path(tempfile.mkdtemp(prefix="wb-own-"))
    path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    for name, text in FILE.findall(PAGE.read_text(encoding="utf-8")):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text, encoding="utf-8")
    (path / "bare.py").write_text(BARE, encoding="utf-8")
    yield path
    shutil.rmtree(path)


def demo(folder: Path, data: str, *words: object, game: str = GAME) -> subprocess.CompletedProcess[str]:
    """`worldbus demo words…` of that game, to its end."""
    path = os.pathsep.join([str(folder), str(Path.cwd())])
    return subprocess.run(
        [*COMMAND, "demo", "--game", game, "--json", *map(str, words)],
        env={**environment(folder / data), "PYTHONPATH": path},
        text=True,
        capture_output=True,
        check=False,
        timeout=200,
    )


def test_the_bots_of_the_game_play_with_what_it_has(folder: Path) -> None:
    done = demo(folder, "live", "--players", 3, "--seconds", 3, "--seed", 5)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["players"], report["first_player"], report["problems"]) == (3, "visitor-1", [])
    assert {name: one["view"] for name, one in report["per_handler"].items()} == {
        "time": "clock",
        "weather": "weather",
        "player": "players",
    }
    assert report["per_handler"]["player"]["rows"] == 3
    assert report["per_handler"]["weather"]["rows"] == 2
    assert (report["documents"], report["passages"]) == (0, 0)


def test_one_seed_makes_one_log_of_any_game(folder: Path) -> None:
    """And what is proven of the sample is proven of it: decided again, and built anew."""
    one, again, other = (
        demo(folder, data, "--players", 4, "--lockstep", "--hours", 0.05, "--seed", seed) for data, seed in (("a", 3), ("b", 3), ("c", 4))
    )

    assert one.returncode == again.returncode == other.returncode == 0, one.stderr + again.stderr + other.stderr
    proofs = [json.loads(done.stdout)["proof"] for done in (one, again, other)]
    assert proofs[0]["log_sha256"] == proofs[1]["log_sha256"] != proofs[2]["log_sha256"]
    assert [(proof["different"], proof["open"], proof["rebuilds_differing"], proof["ledger_sums"]) for proof in proofs] == [
        (0, 0, [], {})
    ] * 3
    assert proofs[0]["decisions"] > 10


def test_a_game_without_clock_lore_money_and_players_is_played_too(folder: Path) -> None:
    done = demo(folder, "bare", "--seconds", 2, game="bare:game")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["players"], report["first_player"], report["published"], report["problems"]) == (0, "", 1, [])
    assert report["per_handler"]["player"]["rows"] == 1


@pytest.mark.parametrize("how", ["--lockstep", "--seconds=1"])
def test_a_game_without_bots_is_refused_before_anything_starts(folder: Path, how: str) -> None:
    done = demo(folder, "none", how, game="bare:empty")

    assert done.returncode == 2
    assert "wanted bots, which play the demo, found none in the game bare: give it some, Game(bots=...)" in done.stderr
    assert "worldbus up" in done.stderr
    assert not (folder / "none").exists()
