"""A worker with the real vLLM: bad input, orders in a player's words, and what comes too late. Where vLLM is: `make test-vllm`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from bus.log import Log
from inference.dressing import fits
from inference.engines.vllm import VllmEngine, tiny
from inference.tiny_model import CONTEXT, write
from schemas.gen.worldbus.inference.v1.types_pb2 import PromptPart
from tests.conformance.engine import HARMLESS, SCHEMA
from tests.conformance.test_vllm import SLOW_START, needs_vllm
from tests.integration.inference.conftest import LADDERS, Game, Run, Until, connection, game, log, publisher, run, until
from worldbus.reinfer import recorded, reinfer

__all__ = ["connection", "game", "log", "publisher", "run", "until"]

MINUTE = 60_000


def words(text: str) -> list[PromptPart]:
    return [PromptPart(role="system", name="persona", text="You are Mira."), PromptPart(role="user", name="words", text=text)]


@needs_vllm
@pytest.mark.timeout(SLOW_START)
async def test_bad_input_is_refused_and_orders_stay_words(
    game: Game, run: Run, log: Log, until: Until, tmp_path: Path, logged: list[Any]
) -> None:
    engine = VllmEngine(tiny(write(tmp_path)))
    async with run(engine) as worker:
        worker.admission.per_token.learn(0.01)
        late = await game.ask(deadline_ms=1, budget_ms=0)
        ends = await game.ends(1)
        assert (ends[late.request_id].name, cast(Any, ends[late.request_id].data).stage) == ("InferenceExpired", "arrival")
        assert cast(Any, ends[late.request_id].data).measured.completion_tokens == 0

        wrong = {
            "more than its context": (await game.ask(prompt=words("fish " * 4_000), budget_ms=MINUTE), "refused"),
            "an answer longer than its context": (await game.ask(max_tokens=CONTEXT, budget_ms=MINUTE), "refused"),
            "a token that it has not": (await game.ask(prompt=[], token_ids=[1, 2**31], budget_ms=MINUTE), "refused"),
            "a reference to nowhere": (await game.ask(json_schema='{"$ref": "#/$defs/nowhere"}', budget_ms=MINUTE), "refused"),
            "an unknown tier": (await game.ask(tier="platinum", budget_ms=MINUTE), "UNKNOWN_TIER"),
        }
        said = [text.replace("\x00", "") for text in HARMLESS.values()]  # events hold no NUL
        orders = [await game.ask(prompt=words(text), json_schema=SCHEMA, max_tokens=200, budget_ms=MINUTE) for text in said]
        free = [await game.ask(prompt=words(text), max_tokens=16, budget_ms=MINUTE) for text in said]
        ends = await game.ends(1 + len(wrong) + len(orders) + len(free))
        assert worker.up
        await until(lambda: not worker.held)

    refused = {name: (ends[one.request_id].name, cast(Any, ends[one.request_id].data).code) for name, (one, _) in wrong.items()}
    assert refused == {name: ("InferenceDegraded" if code == "refused" else "InferenceRejected", code) for name, (_, code) in wrong.items()}
    answers = [cast(Any, ends[one.request_id].data).text for one in orders]
    assert all(fits(answer, SCHEMA, ()) for answer in answers)
    assert {json.loads(answer)["action"] for answer in answers} <= {"none", "bow"}
    assert all(cast(Any, ends[one.request_id].data).text.strip() for one in free)
    assert "request_failed" not in {line["event"] for line in logged}

    found = [one async for one in recorded(log)]
    report = await reinfer(found[:4], LADDERS, {"gold": VllmEngine(tiny(write(tmp_path)))}, _nothing)
    assert [(one.outcome, one.prompt_same) for one in report.compared] == [("same", True)] * 4


async def _nothing(world: str, ids: Any) -> dict[str, str]:
    return {}
