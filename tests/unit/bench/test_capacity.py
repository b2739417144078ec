"""The simulated queue is held to what theory says of the plain case, and to what must be so in any; plans to what their engines do."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.capacity import plan
from bench.capacity.machine import cpu_s
from bench.capacity.queue import Tier, bearable, erlang_c, exponential, lines, simulate, warm
from bench.harness import Result
from bench.load import profile
from bus.errors import BadSettings
from tests.duskmarket import BOTS
from tests.laws import examples
from worldbus.cli.bench import names
from worlds.duskmarket.bots.concurrent import Concurrent, measure


@pytest.mark.parametrize(("slots", "busy", "longer_than_50_ms"), [(8, 0.63, 0.096), (8, 0.80, 0.33), (80, 0.80, 0.0014)])
def test_the_formula_gives_the_known_figures(slots: int, busy: float, longer_than_50_ms: float) -> None:
    """Service of 250 ms; the figures are those that the plan of GPUs was judged by before there was a simulation."""
    load = slots * busy
    found = erlang_c(slots, load) * math.exp(-(slots - load) * 0.050 / 0.250)

    assert found == pytest.approx(longer_than_50_ms, rel=0.05)


@pytest.mark.parametrize(("slots", "busy"), [(1, 0.5), (4, 0.8), (8, 0.63), (80, 0.95)])
def test_the_plain_case_waits_as_theory_says(slots: int, busy: float) -> None:
    """M/M/c: the share that waits is Erlang's C, the mean wait C / (c * mu - lambda)."""
    service, load = 0.25, slots * busy
    rate = load / service
    found = simulate(Tier(gpus=1, slots=slots, service=exponential(service)), rate=rate, seconds=300_000 / rate, seed=7)

    waiting = erlang_c(slots, load)
    assert found.waited() == pytest.approx(waiting, rel=0.08, abs=0.005)
    assert found.mean_wait == pytest.approx(waiting / (slots / service - rate), rel=0.12, abs=0.0005)
    assert found.busy == pytest.approx(busy, rel=0.03)
    assert found.attained == 1.0


def test_queues_of_their_own_wait_as_a_lone_gpu_does_and_a_shared_one_does_not() -> None:
    service, gpus, busy = 0.25, 10, 0.8
    rate = gpus * 8 * busy / service
    apart, together = (
        simulate(Tier(gpus=gpus, slots=8, service=exponential(service), shared=shared), rate=rate, seconds=400, seed=3)
        for shared in (False, True)
    )

    assert apart.waited() == pytest.approx(erlang_c(8, 8 * busy), rel=0.1)
    assert together.waited() == pytest.approx(erlang_c(80, 80 * busy), abs=0.02)


@settings(max_examples=examples(60), deadline=None)
@given(
    gpus=st.integers(1, 5),
    slots=st.integers(1, 8),
    busy=st.floats(0.05, 5.0),
    deadline_s=st.floats(0.0, 3.0),
    burstiness=st.floats(0.1, 1.0),
    shared=st.booleans(),
    seed=st.integers(),
)
def test_nobody_is_answered_late_or_twice(
    gpus: int, slots: int, busy: float, deadline_s: float, burstiness: float, shared: bool, seed: int
) -> None:
    tier = Tier(gpus=gpus, slots=slots, service=lines(0.25), deadline_s=deadline_s, shared=shared)
    rate = busy * gpus * slots / 0.25
    found = simulate(tier, rate=rate, seconds=5.0, burstiness=burstiness, seed=seed)

    assert found == simulate(tier, rate=rate, seconds=5.0, burstiness=burstiness, seed=seed)
    assert 0 <= found.in_time == len(found.waits) <= found.offered
    assert all(0 <= wait <= deadline_s for wait in found.waits)
    assert found.busy <= (5.0 + deadline_s) / 5.0


def test_what_can_be_borne_is_just_below_what_cannot() -> None:
    tier = Tier(gpus=2, slots=8, service=lines(0.25), deadline_s=1.5)
    rate = bearable(tier, seconds=120.0)
    above = [simulate(tier, rate=rate * 1.05, seconds=60.0, burstiness=shape).attained for shape in (1.0, 0.5)]

    assert 0.5 * 64 < rate < 1.1 * 64
    assert min(above) < 0.99


@pytest.mark.parametrize("gpus", [10, 50])
def test_many_gpus_bear_no_more_than_they_can_answer_however_short_the_look(gpus: int) -> None:
    """Idle slots at the beginning, and a queue that is still growing at the end, once made fifty GPUs bear what sixty-three could."""
    tier = Tier(gpus=gpus, slots=8, service=lines(0.222), deadline_s=1.5)
    can = gpus * 8 / 0.222

    even = replace(tier, service=lambda dice: 0.222)  # whose answers differ turns the long ones away first
    cold, steady = (simulate(even, rate=1.3 * can, seconds=5.0, warm_s=warm_s).attained for warm_s in (0.0, warm(even)))

    assert bearable(tier, seconds=10.0) <= 1.02 * can / 0.99
    assert steady == pytest.approx(1 / 1.3, abs=0.03)
    assert cold > 0.9  # what made it so


def test_figures_of_an_engine_are_read_as_the_benchmark_prints_them(tmp_path: Path) -> None:
    file = tmp_path / "gold.jsonl"
    lines_ = [
        Result(name="gold_load_capacity", value=80.0, unit="answers/s", against="", ratio=None).line(),
        Result(name="gold_at_99_players_per_gpu", value=900.0, unit="players", against="", ratio=None).line(),
        "what else is printed",
        Result(name="gold_load_1x_full", value=1.0, unit="of offered", against="", ratio=None).line(),
    ]
    file.write_text("\n".join(lines_), "utf-8")
    (speed,) = plan.read(file).values()

    assert (speed.name, speed.slots, speed.capacity, speed.measured) == ("gold", 8, 80.0, {"99": 900.0})
    assert speed.service_s(BOTS.line.tokens) == pytest.approx(0.1)
    assert speed.service_s(2 * BOTS.line.tokens) == pytest.approx(0.2)


@pytest.mark.parametrize("text", ["", '{"name": 5}', '{"name": "gold_load_capacity"}', "{", '{"name": "gold_load_capacity", "value": 0}'])
def test_a_file_without_figures_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "gold.jsonl"
    file.write_text(text, "utf-8")

    with pytest.raises(BadSettings, match=r"--figures gold\.jsonl: wanted"):
        plan.read(file)


@given(st.text(max_size=60) | st.just('{"name": "gold_load_capacity", "value": 3}'))
def test_any_file_is_read_or_refused(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder, suppress(BadSettings):
        file = Path(folder) / "any.jsonl"
        file.write_text(text, "utf-8", newline="")
        assert plan.read(file)


def test_a_plan_holds_or_not_by_what_its_engines_do() -> None:
    one = Concurrent(published=0.4, recorded=1.7, lines=5 / 60, asked={"gold": 5 / 60}, tokens_per_line=16)
    wanted = plan.Plan(players=1000, gold=10, silver=5)

    def attained(answers_per_s: float) -> Result:
        gold = replace(plan.STATED["gold"], capacity=answers_per_s)
        return next(plan.check(wanted, {**plan.STATED, "gold": gold}, one, 60.0, 16))

    quick, slow = attained(20.0), attained(7.0)  # 8.3 requests a second fall to each GPU
    assert quick.value > plan.ATTAINED > slow.value
    assert "holds" in quick.against
    assert "DOES NOT HOLD" in slow.against


def test_the_cost_of_a_process_counts_its_children() -> None:
    burn = "import subprocess, sys, time\nt = time.process_time()\nwhile time.process_time() - t < 0.3: pass\n"
    parent = f"{burn}child = subprocess.Popen([sys.executable, '-c', {burn + 'print(1, flush=True); time.sleep(60)'!r}])\nchild.wait()"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        spent = cpu_s(process.pid)
        for pid in (*(int(one) for one in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()), process.pid):
            os.kill(pid, signal.SIGKILL)

    assert sum(spent.values()) >= 0.5


def test_the_report_is_one_of_the_benchmarks_that_the_command_line_knows() -> None:
    assert names()["players"] == "bench.players"


def test_the_page_says_of_each_plan_what_the_simulation_says() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "plan-capacity.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d,]+) \| (\d+), (\d+) \| (.*) \| (.*) \| (.*) \|$", page, re.MULTILINE)
    one, gold = measure(), plan.STATED["gold"]

    found = [plan.Plan(players=int(row[0].replace(",", "")), gold=int(row[1]), silver=int(row[2])) for row in rows]
    assert tuple(found) == plan.PLANS
    for wanted, row in zip(found, rows, strict=True):
        asked: tuple[int | profile.Profile, ...] = (16, 48, profile.read(profile.DEFAULT))
        for lengths, said in zip(asked, row[3:], strict=True):
            rate = wanted.players * one.asked["gold"]
            attained = next(plan.check(wanted, plan.STATED, one, 60.0 if wanted.gold < 20 else 20.0, lengths)).value
            assert int(said.split(" %")[0].split()[-1]) == pytest.approx(100 * gold.busy(wanted.gold, rate, lengths), abs=10)
            assert ("not hold" in said) == (attained < plan.ATTAINED), (wanted, said, attained)


def test_players_that_a_ramp_measured_are_told_at_the_rate_of_the_definition() -> None:
    """A ramp's players ask every 12 s; who asks every 24 s is half as dear, and the engine that bears both is the same."""
    one = Concurrent(published=0.4, recorded=1.7, lines=2.5 / 60, asked={"gold": 2.5 / 60}, tokens_per_line=16)
    speed = replace(plan.STATED["gold"], measured={"99": 400.0})
    found = {result.name: result for result in plan.per_gpu(speed, one, 60.0)}

    assert found["gold_players_measured_99"].value == pytest.approx(800.0)
    assert found["gold_players_measured_99"].ratio == pytest.approx(800.0 / found["gold_players_per_gpu"].value)
