"""Kinds of players: what a table may not say, that the mix is what it says, and that page, benchmarks and bots agree on one player."""

from __future__ import annotations

import copy
import random
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.script import PERSONA, WORDS, Script
from bus.errors import BadSettings
from schemas.gen.worldbus.game.v1.game_pb2 import NpcAttacked, PlayerSpoke
from schemas.gen.worldbus.payment.v1.payment_pb2 import PaymentRequestConflicted, PaymentRequestRepeated, RefundDeclined
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerDeparted
from schemas.gen.worldbus.state.v1.state_pb2 import StateChangeRefused
from tests.duskmarket import BOTS, FOLDER
from worldbus.demo.script import rehearse
from worlds.duskmarket.bots import kinds
from worlds.duskmarket.bots.concurrent import measured, page
from worlds.duskmarket.bots.deeds import DEEDS
from worlds.duskmarket.bots.kinds import parse
from worlds.duskmarket.bots.players import _OWN

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "player.md"
TABLE = tomllib.loads((FOLDER / "bots.toml").read_text(encoding="utf-8"))


def _without_share(table: dict[str, Any]) -> None:
    table["kinds"]["talker"]["share"] = 0.3


def _idle(table: dict[str, Any]) -> None:
    table["kinds"]["talker"]["per_minute"] = {"talk": 0.0}


def _unknown(table: dict[str, Any]) -> None:
    table["kinds"]["talker"]["per_minute"]["fly"] = 1.0


def _not_a_rate(table: dict[str, Any]) -> None:
    table["kinds"]["talker"]["per_minute"]["talk"] = float("nan")


def _no_tokens(table: dict[str, Any]) -> None:
    table["line"]["tokens"] = 0


def _no_line(table: dict[str, Any]) -> None:
    del table["line"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_without_share, "add up to 1, found 1.05"),
        (_idle, "kinds.talker: wanted a player who does anything"),
        (_unknown, "kinds.talker: wanted deeds among attack.*found fly"),
        (_not_a_rate, "kinds.talker: wanted 0 to 600 a minute, found other rates of talk"),
        (_no_tokens, "line: wanted tokens"),
        (_no_line, "line: wanted a table, found no such key"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_what_is_wrong(spoil: Callable[[dict[str, Any]], None], told: str) -> None:
    table = copy.deepcopy(TABLE)
    spoil(table)

    with pytest.raises(BadSettings, match=told):
        parse(table, "bots.toml")


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda of: st.dictionaries(st.text(max_size=8), of)))
def test_whatever_a_table_holds_it_is_read_or_refused(body: Any) -> None:
    with suppress(BadSettings):
        parse({"line": TABLE["line"], "kinds": {"one": body}}, "bots.toml")


def test_every_deed_of_the_table_can_be_done_and_every_deed_is_named() -> None:
    assert {*DEEDS, *_OWN} == kinds.DEEDS
    assert {deed for kind in BOTS.kinds.values() for deed in kind.per_minute} == kinds.DEEDS


@pytest.mark.parametrize("players", [20, 60, 1000])
def test_the_first_so_many_players_are_mixed_as_the_shares_say(players: int) -> None:
    found = Counter(BOTS.of(number).name for number in range(1, players + 1))

    for kind in BOTS.kinds.values():
        assert abs(found[kind.name] - kind.share * players) <= 2


def test_pauses_and_deeds_come_at_the_stated_rates() -> None:
    kind, dice = BOTS.kinds["talker"], random.Random(1)
    drawn = Counter(kind.draw(dice) for _ in range(20_000))
    pauses = [kind.pause_s(dice, 2.0) for _ in range(20_000)]

    assert drawn["talk"] / 20_000 == pytest.approx(kind.per_minute["talk"] / kind.total, rel=0.05)
    assert sum(pauses) / len(pauses) == pytest.approx(60 / kind.total / 2, rel=0.05)


def test_griefers_are_answered_with_refusals_and_nothing_else() -> None:
    """They come back without having left, want their money twice and change what others changed: each is told no, in an event."""
    town = rehearse(players=60, minutes=240, seed=2)
    griefers = {f"player-{number:04d}" for number in range(1, 61) if BOTS.of(number).name == "griefer"}
    pestered = {event.entity: set[str]() for event in town.log if event.entity in griefers}
    for event in town.log:
        if event.entity in griefers and isinstance(event.data, PlayerSpoke | NpcAttacked):
            pestered[event.entity].add(event.data.npc)

    assert griefers
    assert all(len(victims) == 1 for victims in pestered.values())
    assert town.said(StateChangeRefused)
    assert town.said(PaymentRequestRepeated) or town.said(PaymentRequestConflicted) or town.said(RefundDeclined)
    assert {one.cause for one in town.said(PlayerDeparted)} >= {"left", "replaced"}


def test_benchmarks_of_engines_ask_for_what_the_definition_says() -> None:
    script, line = Script(), BOTS.line

    assert (script.tokens, script.budget_ms) == (line.tokens, line.deadline_ms)
    assert len(PERSONA) * script.persona_times + len(WORDS) + 7 == line.prompt_characters
    assert 60 / script.every_s == pytest.approx(dict(measured())["lines said a minute"], rel=0.1)


def test_the_page_says_what_the_table_says() -> None:
    assert "\n".join(page()) in PAGE.read_text(encoding="utf-8"), "write it anew: python -m worlds.duskmarket.bots.concurrent"


def test_the_page_says_what_was_measured() -> None:
    written = PAGE.read_text(encoding="utf-8")
    rows = {name: re.search(rf"^\| {name} \| ([0-9.]+) \|", written, re.MULTILINE) for name, _ in measured()}
    said = {name: float(row[1]) for name, row in rows.items() if row}

    assert said == pytest.approx(dict(measured()), rel=0.1, abs=0.01)
