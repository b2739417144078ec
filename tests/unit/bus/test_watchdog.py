"""The watchdog without a signal to work with: somebody else uses SIGALRM (pytest's time limit), or the loop is not in the main thread."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable

import pytest

from bus.errors import BadSettings, HandlerHung
from bus.health import Health
from bus.watch import Watch
from bus.watchdog import SOURCE, Budgets, Watchdog
from tests.hanging import hanger, loop

SOON = Budgets(report_s=0.1, interrupt_s=0.2, exit_s=600)


@pytest.mark.parametrize("budgets", [(0, 1, 2), (1, 0.5, 2), (1, 2, 2)])
def test_budgets_that_contradict_each_other_are_refused(budgets: tuple[float, float, float]) -> None:
    with pytest.raises(BadSettings, match="report_s <= interrupt_s < exit_s"):
        Budgets(report_s=budgets[0], interrupt_s=budgets[1], exit_s=budgets[2])


def _until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.001)


async def _hang(health: Health, reasons: list[str]) -> None:
    """A loop whose health is written down by another thread while a call hangs."""
    watch, over = Watch(), threading.Event()

    def note() -> None:
        _until(lambda: health.reasons or over.is_set())
        reasons.extend(health.reasons)

    noting = threading.Thread(target=note)
    with Watchdog(watch, health, None, SOON):
        noting.start()
        with pytest.raises(HandlerHung) as caught:
            watch.call("initial", hanger, None, lambda _one, _two: loop(), None, None)
        over.set()
        noting.join()
        assert "while True:" in caught.value.stack
        assert caught.value.__traceback__ is not None
        while health.reasons:  # the loop has to turn for it to see that all is well again
            await asyncio.sleep(0.01)


def test_a_call_that_hangs_is_interrupted_and_health_is_red_meanwhile() -> None:
    before = signal.getsignal(signal.SIGALRM)
    health, reasons = Health(), list[str]()

    asyncio.run(_hang(health, reasons))

    assert [reason.partition(":")[0] for reason in reasons] == ["hanger/"]
    assert "`initial` of the event at position 0 does not return" in reasons[0]
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_loop_in_another_thread_is_watched_as_well() -> None:
    health, reasons, failed = Health(), list[str](), list[BaseException]()

    def run() -> None:
        try:
            asyncio.run(_hang(health, reasons))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert failed == []
    assert len(reasons) == 1


def test_a_loop_that_turns_is_left_alone_however_long_its_work() -> None:
    async def work() -> int:
        watch, health = Watch(), Health()
        with Watchdog(watch, health, None, SOON):
            until, calls = time.monotonic() + 1.0, 0
            while time.monotonic() < until:
                watch.call("decide", hanger, None, lambda _one, _two: sum(range(1000)), None, None)
                calls += 1
                await asyncio.sleep(0)
            assert health.reasons == ()
        return calls

    assert asyncio.run(work()) > 1


def test_a_look_that_is_under_way_ends_before_the_block_does() -> None:
    reached = threading.Event()

    class Slow(Health):
        """Holds the look up while the block is left."""

        def red(self, source: str, reason: str) -> None:
            reached.set()
            time.sleep(0.05)
            super().red(source, reason)

    async def work() -> None:
        watch = Watch()
        with Watchdog(watch, health, None, Budgets(report_s=0.1, interrupt_s=600, exit_s=1200)):
            watch.call("initial", hanger, None, lambda _one, _two: reached.wait(), None, None)

    health = Slow()
    asyncio.run(work())
    for thread in [one for one in threading.enumerate() if one.name == "worldbus-watchdog"]:
        thread.join()

    assert health.reasons == ()


def test_health_is_red_as_long_as_anybody_has_a_reason() -> None:
    health = Health()
    health.red("b", "second")
    health.red(SOURCE, "first")
    health.red("b", "other")

    assert health.reasons == ("other", "first")
    health.clear("b")
    health.clear("nobody")
    assert health.reasons == ("first",)
