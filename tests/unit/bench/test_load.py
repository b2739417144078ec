"""The load generator's own arithmetic: arrivals, the account over what was offered, the ramp's rule, the models of stated shapes."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.inference import PARTS
from bench.load.account import Account, percentile
from bench.load.players import Asked
from bench.load.script import Script, arrivals
from bench.load.shapes import SENTENCE, SHAPES, write
from bench.load.shares import ATTAINED, _keeps
from schemas.gen.worldbus.inference.v1.inference_pb2 import InferenceCompleted, InferenceDegraded, InferenceExpired
from schemas.gen.worldbus.inference.v1.types_pb2 import Measured


def _asked(player: str = "p", *, heard: float = 0.5, end: object = None) -> Asked:
    return Asked(at=1.0, deadline=2.0, player=player, heard=heard and 1.0 + heard, ended=1.6, end=end)


FULL = InferenceCompleted(rung="full", measured=Measured(engine="timed", completion_tokens=16, first_token_us=30_000))
SHORTER = InferenceDegraded(rung="shorter", measured=Measured(engine="timed", completion_tokens=4))
LINE = InferenceDegraded(rung="grammar", measured=Measured(engine="grammar"))
EXPIRED = InferenceExpired(stage="arrival", measured=Measured())


@pytest.mark.parametrize("burstiness", [1.0, 0.5, 0.25])
def test_arrivals_have_the_rate_and_the_burstiness(burstiness: float) -> None:
    moments = list(arrivals(50.0, 400.0, random.Random(7), burstiness=burstiness))
    gaps = [after - before for before, after in pairwise(moments)]
    variation = pstdev(gaps) / fmean(gaps)

    assert len(moments) / 400 == pytest.approx(50, rel=0.05)
    assert variation**2 == pytest.approx(1 / burstiness, rel=0.1)


def test_the_same_run_asks_at_the_same_moments() -> None:
    assert list(arrivals(9, 10, random.Random("calm"))) == list(arrivals(9, 10, random.Random("calm")))


def test_whatever_was_not_answered_by_a_model_in_time_is_a_miss_of_what_was_offered() -> None:
    ones = [
        _asked(end=FULL),
        _asked(end=SHORTER),
        _asked(end=LINE),
        _asked(heard=0, end=EXPIRED),
        _asked(heard=0),
        _asked(heard=1.2, end=SHORTER),
    ]
    account = Account(ones)

    assert account.full == 1 / 6
    assert account.speakable == 3 / 6
    assert account.fallback == 3 / 6
    assert len(account.admitted) == 3
    assert account.admitted_ok == 2 / 3
    shown = {one.name: one for one in account.results("x", 10.0)}
    assert shown["x_rung_none"].value == 1 / 6
    assert shown["x_rung_InferenceExpired"].value == 1 / 6
    assert sum(one.value for name, one in shown.items() if "_rung_" in name) == pytest.approx(1)


def test_a_rate_is_borne_only_if_no_player_is_served_much_worse_than_all() -> None:
    served = [_asked(f"p{number % 20}", end=FULL) for number in range(4000)]
    assert _keeps(Account(served), ATTAINED)

    starved = Account([one if one.player != "p3" else _asked("p3", end=SHORTER) for one in served])
    assert not _keeps(starved, ATTAINED)
    assert starved.worst_player == pytest.approx(0.95)


def test_shares_of_fallbacks_count_against_the_rate() -> None:
    assert not _keeps(Account([_asked(end=FULL)] * 98 + [_asked(end=SHORTER)] * 2), ATTAINED)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 0.999))
def test_a_percentile_is_one_of_the_values_and_that_share_is_not_above_it(values: list[float], share: float) -> None:
    found = percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)


def test_a_script_says_every_term_that_a_figure_depends_on() -> None:
    said = str(Script(every_s=9, tokens=24, budget_ms=700))

    assert all(word in said for word in ("1/9 s", "24 tokens", "0.7 s", "characters"))


@pytest.mark.parametrize("name", ["toy", "qwen2.5-3b"])
def test_a_model_of_a_shape_has_a_token_for_every_place_and_sentences_that_end(tmp_path: Path, name: str) -> None:
    shape = SHAPES[name]
    write(tmp_path, shape)
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))

    assert sorted(vocabulary.values()) == list(range(shape.vocabulary))
    assert config["vocab_size"] == shape.vocabulary
    ends = sum(word.endswith(".") for word in vocabulary)
    assert ends == pytest.approx(shape.vocabulary / SENTENCE, rel=0.4)


def test_every_engine_has_its_parts() -> None:
    assert set(PARTS) == {"timed", "vllm", "gold", "silver", "toy"}
    assert all({"loads", "ramp", "urgent", "saturation"} <= set(parts) for parts in PARTS.values())
