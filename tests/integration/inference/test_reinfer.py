"""Asking again what a model was asked then: the same prompt, the same seed, and nothing written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import pytest

from bus.connection import Connection
from bus.log import Log
from bus.publisher import Publisher
from inference.dressing import spoken_of
from inference.engine import Engine
from inference.engines.timed import Pace
from inference.grammar import Grammar
from inference.ladder import Ladders
from inference.passages import Passage
from inference.retrieval import Lookup
from inference.settings import WorkerSettings
from inference.worker import run_worker
from schemas.gen.worldbus.inference.v1.types_pb2 import Citation, Knowledge, PromptPart
from tests.engines import GrammarEngine, TimedEngine
from tests.integration.inference.conftest import LADDERS, PATIENT, Game, Run, Until
from worldbus.reinfer import Recorded, recorded, reinfer

SCHEMA = '{"type":"object","properties":{"say":{"type":"string"},"action":{"enum":["none","nod"]}},"required":["say","action"]}'
QUICK = Pace(first=0.001, per_token=0.001)


async def nothing_known(world: str, ids: Sequence[str]) -> Mapping[str, str]:
    assert not ids
    return {}


async def _recorded(log: Log, **wish: Any) -> list[Recorded]:
    return [one async for one in recorded(log, **wish)]


@pytest.mark.parametrize("kind", ["timed", "grammar"])
async def test_the_same_engine_says_the_same_and_the_log_stays_as_it_is(game: Game, run: Run, log: Log, kind: str) -> None:
    engine: Engine = TimedEngine(QUICK) if kind == "timed" else GrammarEngine()
    async with run(engine):
        asked = [await game.ask(max_tokens=20, budget_ms=20_000, entity=f"e{number}") for number in range(4)]
        asked.append(await game.ask(json_schema=SCHEMA, max_tokens=60, budget_ms=20_000))
        asked.append(await game.ask(choices=["nod", "bow deeply"], budget_ms=20_000))
        asked.append(await game.ask(temperature=1.5, stop=["the"], budget_ms=20_000))
        ends = await game.ends(len(asked))
    last = (await log.state()).last

    again: Engine = TimedEngine(QUICK) if kind == "timed" else GrammarEngine()
    report = await reinfer(await _recorded(log), LADDERS, {"gold": again}, nothing_known)

    assert [(one.outcome, one.prompt_same) for one in report.compared] == [("same", True)] * len(asked)
    assert {one.request_id: (one.recorded, one.today) for one in report.compared} == {
        name: (cast(Any, end.data).text,) * 2 for name, end in ends.items()
    }
    assert report.alike
    assert (await log.state()).last == last


async def test_another_model_is_shown_the_same_and_says_something_else(game: Game, run: Run, log: Log) -> None:
    async with run(TimedEngine(QUICK)):
        request = await game.ask(max_tokens=8, budget_ms=20_000)
        await game.ends(1)
    other = TimedEngine(QUICK, model="newer", grammars={"npc_line": Grammar.of("npc_line", {"origin": ["Quite another line."]})})
    report = await reinfer(await _recorded(log), LADDERS, {"gold": other}, nothing_known)

    (one,) = report.compared
    assert (one.request_id, one.outcome, one.prompt_same) == (request.request_id, "different", True)
    assert (one.recorded_model, one.today_model) == ("timed", "newer")
    assert one.today.startswith("Quite another line.")
    assert one.recorded != one.today
    assert not report.alike


async def test_only_what_a_model_said_is_asked_again(game: Game, run: Run, log: Log, connection: Connection) -> None:
    async with run(None):
        await game.ask(budget_ms=3000)  # answered by the ladder
        await game.ends(1)
    async with run(TimedEngine(QUICK)):
        await game.ask(budget_ms=0)  # rejected
        await game.ask(deadline_ms=1, budget_ms=0)  # expired
        first, second = [await game.ask(max_tokens=8, budget_ms=20_000) for _ in range(2)]
        await game.ends(5)

    assert {one.answer.request_id for one in await _recorded(log)} == {first.request_id, second.request_id}
    assert [one.answer.request_id for one in await _recorded(log, only={second.request_id})] == [second.request_id]
    engine = TimedEngine(QUICK)
    await reinfer(await _recorded(log), LADDERS, {"gold": engine}, nothing_known)
    assert engine.calls == 2


async def test_an_answer_that_was_cut_is_how_todays_begins(game: Game, run: Run, log: Log) -> None:
    engine = TimedEngine(QUICK)
    async with run(engine, ladders=PATIENT):
        await game.ask(max_tokens=20, budget_ms=20_000)
        await game.ends(1)
        engine.pace = Pace(first=0.001, per_token=0.06)
        cut = await game.ask(max_tokens=60, budget_ms=3000)
        ends = await game.ends(2)
    report = await reinfer(await _recorded(log), LADDERS, {"gold": TimedEngine(QUICK)}, nothing_known)

    assert cast(Any, ends[cut.request_id].data).rung == "shorter"
    assert [one.outcome for one in report.compared] == ["same", "beginning"]
    assert all(spoken_of(one.today, "").startswith(one.recorded) for one in report.compared)


async def test_lower_rungs_of_a_model_are_asked_again_as_they_were(game: Game, run: Run, log: Log) -> None:
    """Too slow for the whole answer: what was asked for instead has another prompt, and it is found by its hash."""
    async with run(TimedEngine(Pace(first=0.15, per_token=0.15)), ladders=PATIENT) as worker:
        for _ in range(40):
            worker.admission.first_token.learn(0.15)
            worker.admission.per_token.learn(0.15)
        short = await game.ask(max_tokens=90, budget_ms=9000)
        choice = await game.ask(max_tokens=90, budget_ms=4000)
        ends = await game.ends(2)
    rungs = [cast(Any, ends[one.request_id].data).rung for one in (short, choice)]
    report = await reinfer(await _recorded(log), LADDERS, {"gold": TimedEngine(QUICK)}, nothing_known)

    assert rungs == ["shorter", "choice"]
    assert {one.request_id: (one.outcome, one.prompt_same) for one in report.compared} == {
        one.request_id: ("same", True) for one in (short, choice)
    }


async def test_a_prompt_that_cannot_be_made_as_it_was_is_said(game: Game, run: Run, log: Log) -> None:
    async with run(TimedEngine(QUICK)):
        await game.ask(max_tokens=8, budget_ms=20_000)
        await game.ends(1)
    ours = LADDERS.of("npc_line")
    assert ours is not None
    hotter = Ladders({"npc_line": replace(ours, temperature=1.9)})
    (one,) = (await reinfer(await _recorded(log), hotter, {"gold": TimedEngine(QUICK)}, nothing_known)).compared

    assert (one.outcome, one.prompt_same) == ("same", False)


async def test_what_nobody_here_can_be_asked_is_said(game: Game, run: Run, log: Log) -> None:
    async with run(TimedEngine(QUICK)):
        await game.ask(max_tokens=8, budget_ms=20_000)
        await game.ask(prompt=[PromptPart(role="user", text="x")], json_schema=SCHEMA, budget_ms=20_000)
        await game.ends(2)
    elsewhere = await reinfer(await _recorded(log), LADDERS, {"silver": TimedEngine(QUICK)}, nothing_known)
    narrower = GrammarEngine()
    narrower.abilities = replace(narrower.abilities, json_schema=False)
    refused = await reinfer(await _recorded(log), LADDERS, {"gold": narrower}, nothing_known)

    assert [one.outcome for one in elsewhere.compared] == ["no_engine", "no_engine"]
    assert refused.compared[1].outcome == "refused"
    assert "json_schema" in refused.compared[1].note
    assert not elsewhere.alike
    assert not refused.alike


class Shelf:
    """A knowledge base of two passages, one of them too long to be shown whole."""

    texts: Final = {"p1": "The harbour pays by weight, and <never> by count. " * 60, "p2": "Old Hask is late.\nAgain."}

    async def passages(self, world: str, wanted: Knowledge, position: int, timeout_s: float) -> Sequence[Passage]:
        return [Passage(text, Citation(passage_id=name, kind="lore", document="d", heading=["Trade"])) for name, text in self.texts.items()]


async def test_passages_are_shown_again_as_they_were(
    game: Game, connection: Connection, log: Log, publisher: Publisher, until: Until
) -> None:
    settings = WorkerSettings(tier="gold", name="w1")
    wanted = Knowledge(query="the harbour", most=2, token_budget=300)
    prepare = Lookup(Shelf(), share=1.0, most_s=5.0)
    async with run_worker(connection, log, publisher, LADDERS, settings, engine=TimedEngine(QUICK), prepare=prepare) as worker:
        await until(lambda: worker.up)
        request = await game.ask(knowledge=wanted, max_tokens=8, budget_ms=20_000)
        end = cast(Any, (await game.ends(1))[request.request_id].data)
    assert [citation.passage_id for citation in end.citations][:1] == ["p1"]

    async def known(world: str, ids: Sequence[str]) -> Mapping[str, str]:
        return {name: Shelf.texts[name] for name in ids}

    async def forgotten(world: str, ids: Sequence[str]) -> Mapping[str, str]:
        return {}

    for texts, same in ((known, True), (forgotten, False)):
        (one,) = (await reinfer(await _recorded(log), LADDERS, {"gold": TimedEngine(QUICK)}, texts)).compared
        assert (one.outcome, one.prompt_same) == ("same", same)
