"""Lengths of prompts and answers: measured from a log, kept in a file, asked for by the benchmarks, paid for by the engines of a plan."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from bench.capacity import speed
from bench.capacity.plan import per_gpu
from bench.load.lengths import BLOCK, WORLD, Gathering, estimate, profile_from
from bench.load.profile import DEFAULT, Kind, Profile, Shape, dumped, read
from bench.load.script import Script, words
from bus.errors import BadSettings
from bus.event import Draft, Event
from inference import tiny_model
from inference.engine import Part, Prompt, answer
from inference.engines.timed import Pace
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted, InferenceDegraded, InferenceRequested
from schemas.gen.worldbus.inference.v1.types_pb2 import Citation, Knowledge, Measured, PromptPart
from schemas.gen.worldbus.knowledge.v1.knowledge_pb2 import LoreChunkAdded
from tests.engines import TimedEngine
from worldbus.cli.bench import names
from worldbus.demo.script import rehearse
from worlds.duskmarket.bots.concurrent import Concurrent

ONE = Concurrent(published=0.4, recorded=1.7, lines=5 / 60, asked={"gold": 5 / 60}, tokens_per_line=16)
RULES = "Say one line, and nothing that you do not know. " * 8


def logged(*messages: Any) -> list[Event]:
    """Events of a log in which these were said."""
    drafts = [Draft(data=one, world="main", entity="pell", subsystem="npc") for one in messages]
    return [
        Event(raw=one.encode(), subject=one.subject, partition=0, position=number, data=one.data) for number, one in enumerate(drafts, 1)
    ]


def asked(name: str, words: str, **fields: Any) -> InferenceRequested:
    """A line that is asked of an NPC whose rules are everybody's."""
    prompt = [PromptPart(role="system", name="rules", text=RULES), PromptPart(role="user", name="words", text=words)]
    return InferenceRequested(request_id=name, tier="gold", kind="npc_line", prompt=prompt, max_tokens=96, budget_ms=1500, **fields)


def profile_of(*shapes: Shape, tier: str = "gold") -> Profile:
    """A world that asks for these."""
    kind = Kind(kind="npc_line", tier=tier, requests=len(shapes), counted=0, budget_ms=1500, max_tokens=96, shapes=shapes)
    return Profile(measured_from="a test", kinds=(kind,))


def shapes_of(events: list[Event]) -> tuple[Shape, ...]:
    """The shapes that are measured from these events."""
    gathering = Gathering()
    gathering.take(events)
    (kind,) = gathering.profile("a test").kinds
    return kind.shapes


def test_what_prompts_begin_with_is_shared_from_the_second_on_in_whole_blocks() -> None:
    said = InferenceDegraded(text="Later, maybe.", rung="authored", measured=Measured(engine="authored"))
    ends = [InferenceDegraded(request_id=name) for name in ("a", "b")]
    for end in ends:
        end.MergeFrom(said)
    first, second = sorted(shapes_of(logged(asked("a", "Good evening."), asked("b", "What news?"), *ends)), key=lambda one: one.shared)

    assert (first.shared, second.shared % BLOCK) == (0, 0)
    assert len(RULES) - BLOCK < second.shared <= len(RULES) + BLOCK
    assert second.characters == len(RULES) + len("What news?")
    assert (second.tokens, second.answer) == (estimate(second.characters), estimate(len("Later, maybe.")))


def test_tokens_of_a_model_are_its_own_count_and_lore_is_what_it_cites() -> None:
    text = "The harbour pays by weight, and the scales are the harbour's. " * 4
    lore = LoreChunkAdded(document="economy", chunk_id="c1", text=text)
    end = InferenceCompleted(
        request_id="a",
        text="By weight.",
        rung="full",
        measured=Measured(engine="vllm", prompt_tokens=321, completion_tokens=7),
        citations=[Citation(passage_id="c1", kind="lore")],
    )
    request = asked("a", "Who pays?", knowledge=Knowledge(query="Who pays?", most=4, token_budget=360))
    gathering = Gathering()
    gathering.take(logged(lore, request, end))
    (kind,) = gathering.profile("a test").kinds

    assert (kind.counted, kind.requests) == (1, 1)
    assert (kind.shapes[0].tokens, kind.shapes[0].answer) == (321, 7)
    assert len(text) < kind.shapes[0].characters - len(RULES) < len(text) + 360


def test_lore_that_nobody_looked_up_counts_with_its_whole_budget() -> None:
    end = InferenceDegraded(request_id="a", text="Later.", rung="authored", measured=Measured(engine="authored"))
    (shape,) = shapes_of(logged(asked("a", "Who pays?", knowledge=Knowledge(query="Who pays?", most=4, token_budget=360)), end))

    assert shape.characters == len(RULES) + len("Who pays?") + 3 * 360


def test_a_log_in_which_nobody_was_answered_has_no_lengths() -> None:
    gathering = Gathering()
    gathering.take(logged(asked("a", "Who pays?")))

    with pytest.raises(BadSettings, match="wanted a log with requests to models and their answers, found none"):
        gathering.profile("here")


def test_the_committed_lengths_are_those_of_the_sample_world_today() -> None:
    gathering = Gathering()
    gathering.take(rehearse(players=40, minutes=60, seed=3).log)
    today, committed = gathering.profile("a test").means("gold"), read(DEFAULT).means("gold")

    assert committed == pytest.approx(today, rel=0.25), "make it anew: worldbus bench lengths --profile-from played --write <that file>"


async def test_a_profile_is_read_as_it_was_written(tmp_path: Path) -> None:
    committed = await profile_from(WORLD)
    file = tmp_path / "mine.json"
    file.write_text(dumped(committed), "utf-8")

    assert await profile_from(str(file)) == committed == read(DEFAULT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"measured_from": "x", "kinds": []}',
        dumped(profile_of(Shape(100, 50, 25, 5))).replace("[[100,50,25,5]]", "[]"),
        dumped(profile_of(Shape(100, 50, 25, 5))).replace("[[100,50,25,5]]", "[[100,150,25,5]]"),
        dumped(profile_of(Shape(100, 50, 25, 5))).replace("[[100,50,25,5]]", "[[0,0,25,5]]"),
        dumped(profile_of(Shape(100, 50, 25, 5))).replace('"counted": 0', '"counted": 7'),
    ],
)
async def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text, "utf-8")

    with pytest.raises(BadSettings, match=r"^mine\.json: "):
        await profile_from(str(file))


async def test_what_is_no_log_and_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="wanted a profile of lengths"):
        await profile_from(str(tmp_path / "nothing"))
    with pytest.raises(BadSettings):
        await profile_from(str(tmp_path))


def test_a_script_asks_for_what_the_profile_has() -> None:
    shapes = (Shape(1200, 640, 300, 20), Shape(2400, 0, 600, 31))
    script = Script(profile=profile_of(*shapes), budget_ms=1000)
    found = set()
    for seed in range(40):
        request = script.request(f"r{seed}", "p", seed, "pell")
        own = request.prompt[-1].text
        shared = sum(len(part.text) for part in request.prompt[:-1])
        found.add((shared + 1 if shared else 0, request.max_tokens))
        assert own.startswith(f"{seed} "), "else an engine would find it in its cache"
        assert request.budget_ms == 1500
        assert shared + len(own) == pytest.approx(1200 if request.max_tokens == 20 else 2400, abs=8)

    assert found == {(640, 20), (0, 31)}
    assert "prompt of 1800 characters (640 shared)" in str(replace(script, profile=profile_of(Shape(1800, 640, 450, 20))))
    with pytest.raises(BadSettings, match="wanted requests to silver, found only some to gold"):
        replace(script, tier="silver").request("r", "p", 1, "pell")


def test_a_prompt_has_the_tokens_of_the_profile_for_every_engine_under_load() -> None:
    """The timed engine counts words, the made-up models of a GPU's run by their tokenizer."""
    text = words(2000)
    made_up = Tokenizer.from_str(json.dumps(tiny_model.tokenizer()))

    assert len(text.split()) == 500
    assert len(made_up.encode(text).ids) == pytest.approx(500, rel=0.02)


async def test_a_timed_engine_computes_a_prompt_behind_what_an_earlier_one_began_with() -> None:
    engine = TimedEngine(Pace(first=0.0, per_prompt_token=0.001, per_token=0.001))
    rules, other = Part("system", "one two three four"), Part("system", "one two")
    async with engine.open():
        took = []
        for parts in ((rules, Part("user", "five")), (rules, Part("user", "six seven")), (other, Part("user", "five"))):
            before = engine.prefilled
            await answer(engine, Prompt(parts=parts, max_tokens=1))
            took.append(round((engine.prefilled - before) * 1000))

    assert took == [5, 2, 3]


async def test_while_a_timed_engine_computes_a_prompt_nobody_else_gets_on() -> None:
    engine = TimedEngine(Pace(first=0.0, per_prompt_token=0.01, per_token=0.01))
    async with engine.open():
        began = time.monotonic()
        first = asyncio.create_task(answer(engine, Prompt(parts=(Part("user", "short"),), max_tokens=20)))
        await asyncio.sleep(0)
        await answer(engine, Prompt(parts=(Part("user", "word " * 50),), max_tokens=1))
        await first

    assert time.monotonic() - began >= 0.01 + 19 * 0.01 + 50 * 0.01


def test_a_full_gpu_pays_for_the_prompts_of_all_its_slots() -> None:
    gold, world = speed.STATED["gold"], profile_of(Shape(4000, 0, 1000, 20))

    assert gold.full_s(world) == pytest.approx(0.030 + 8 * 1000 * 0.0001 + 20 * 0.012)
    assert gold.busy(1, gold.slots / gold.full_s(world), world) == pytest.approx(1.0)
    assert gold.busy(1, 1.0, profile_of(Shape(4000, 4000, 1000, 16))) == pytest.approx(gold.busy(1, 1.0, 16))


def test_an_engine_that_was_measured_as_a_world_asks_does_as_much_in_a_plan(tmp_path: Path) -> None:
    world = profile_of(Shape(2000, 400, 500, 24))
    file = tmp_path / "gold.jsonl"
    figures = {
        "gold_load_capacity": 5.0,
        "gold_load_fresh_tokens": 400.0,
        "gold_load_answer_tokens": 24.0,
        "gold_at_99_players_per_gpu": 60.0,
    }
    file.write_text("\n".join(f'{{"name": "{name}", "value": {value}}}' for name, value in figures.items()), "utf-8")
    gold = speed.read(file)["gold"]

    assert gold.slots / gold.full_s(world) == pytest.approx(5.0)
    assert gold.measured_lengths
    assert "gold_players_measured_99" in {one.name for one in per_gpu(gold, ONE, 60.0, world)}
    assert "gold_players_measured_99" not in {one.name for one in per_gpu(gold, ONE, 60.0)}


def test_longer_prompts_are_fewer_players() -> None:
    def players(world: Profile | None) -> float:
        return next(per_gpu(speed.STATED["gold"], ONE, 60.0, world)).value

    free, short, long = players(None), players(profile_of(Shape(400, 0, 100, 16))), players(profile_of(Shape(4000, 0, 1000, 16)))

    assert free > short > 1.5 * long > 0


def test_draws_are_as_frequent_as_the_log_has_them() -> None:
    many = Kind(kind="npc_line", tier="gold", requests=900, counted=0, budget_ms=1500, max_tokens=96, shapes=(Shape(1, 0, 1, 1),))
    few = Kind(kind="bark", tier="gold", requests=100, counted=0, budget_ms=900, max_tokens=9, shapes=(Shape(9, 0, 9, 9),))
    world, dice = Profile(measured_from="a test", kinds=(many, few)), random.Random(5)
    drawn = [world.draw("gold", dice)[0].kind for _ in range(2000)]

    assert drawn.count("bark") / 2000 == pytest.approx(0.1, abs=0.03)
    assert world.means("gold").tokens == pytest.approx(0.9 * 1 + 0.1 * 9)


def test_the_command_line_knows_the_benchmark() -> None:
    assert names()["lengths"] == "bench.lengths"
