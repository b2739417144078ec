"""The mark of a decision, and the exception that is raised in one and nowhere else."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

import pytest

from bus.errors import BrokenRule, HandlerHung, Stopped
from bus.frames import frames_of
from bus.watch import Interrupted, Order, Watch
from tests.hanging import hanger

INTERRUPTED = 200


def _call(watch: Watch, work: Callable[[], object]) -> object:
    return watch.call("decide", hanger, None, lambda _one, _two: work(), None, None)


def test_a_call_gives_what_the_function_gives() -> None:
    watch = Watch()

    assert _call(watch, lambda: watch.now is not None) is True
    assert watch.now is None
    with pytest.raises(KeyError):
        _call(watch, lambda: {}[0])
    assert watch.now is None


class Panic(BaseException):
    """As extensions written in Rust raise it."""

    def __str__(self) -> str:
        raise IndexError("it cannot even be shown")


@pytest.mark.parametrize("kind", [Panic, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_what_is_no_exception_is_one_outside_of_the_call(kind: type[BaseException]) -> None:
    watch = Watch()

    def work() -> None:
        raise kind

    with pytest.raises(BrokenRule, match=rf"from `decide`, found .*{kind.__name__}") as caught:
        _call(watch, work)
    assert any("test_watch.py" in frame and frame.endswith("work") for frame in frames_of(caught.value))
    assert watch.now is None


def test_an_interrupt_of_the_keyboard_is_not_kept() -> None:
    def work() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _call(Watch(), work)


def _loop_until(ended: threading.Event) -> None:
    while not ended.is_set():
        pass


def _in_a_thread(watch: Watch, *, stop: bool = False) -> threading.Thread:
    """Orders the call that is in progress to end."""
    victim = threading.get_ident()

    def throw() -> None:
        while (call := watch.now) is None:
            time.sleep(0.001)
        watch.throw(Order(call=call, seconds=1.5, stack="where it was", stop=stop), victim)

    thread = threading.Thread(target=throw)
    thread.start()
    return thread


def test_an_endless_loop_is_interrupted_from_another_thread() -> None:
    watch = Watch()
    thread = _in_a_thread(watch)

    with pytest.raises(HandlerHung, match=r"did not return within 1\.5 s") as caught:
        _call(watch, lambda: _loop_until(threading.Event()))

    thread.join()
    assert caught.value.stack == "where it was"
    assert watch.now is None


def test_a_decision_is_given_up_when_the_process_is_to_stop() -> None:
    watch = Watch()
    thread = _in_a_thread(watch, stop=True)

    with pytest.raises(Stopped):
        _call(watch, lambda: _loop_until(threading.Event()))
    thread.join()


def test_rules_that_keep_the_exception_for_themselves_do_not_block_the_next_call() -> None:
    watch, kept = Watch(), threading.Event()
    thread = _in_a_thread(watch)

    def keep() -> str:
        try:
            _loop_until(threading.Event())
        except BaseException:
            kept.set()
        return "went on"

    assert _call(watch, keep) == "went on"
    thread.join()
    assert kept.is_set()
    assert _call(watch, lambda: 1) == 1


def test_the_exception_never_arrives_outside_of_the_call_that_it_is_meant_for(switching: None) -> None:
    """A thread orders every call to end as soon as it sees it; many of the orders come too late."""
    watch, random, ended = Watch(), Random(1), threading.Event()
    victim, thrown, interrupted = threading.get_ident(), 0, 0

    def throw() -> None:
        nonlocal thrown
        while not ended.is_set():
            call = watch.now
            if call is not None:
                watch.throw(Order(call=call, seconds=0.0, stack=""), victim)
                thrown += 1

    thread = threading.Thread(target=throw)
    thread.start()
    try:
        while interrupted < INTERRUPTED or thrown < 2 * INTERRUPTED:
            turns = random.randrange(300)
            try:
                _call(watch, partial(sum, range(turns)))
            except HandlerHung:
                interrupted += 1
            sum(number for number in range(random.randrange(300)))  # whatever the runtime does between two decisions
    except Interrupted:
        pytest.fail("the exception arrived outside of the call")
    finally:
        ended.set()
        thread.join()


def test_a_signal_interrupts_the_call_and_nothing_outside_of_it(switching: None) -> None:
    """The handler runs wherever the main thread is: in the call, right before it, right behind it."""
    watch, random, ended, interrupted, outside = Watch(), Random(1), threading.Event(), 0, 0
    main = threading.get_ident()

    def on_signal(number: int, frame: object) -> None:
        nonlocal outside
        call = watch.now
        if call is None:
            outside += 1
            return
        watch.order = Order(call=call, seconds=0.0, stack="")
        if watch.ordered:
            raise Interrupted

    def send() -> None:
        while not ended.wait(0.0002):
            signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, on_signal)
    thread = threading.Thread(target=send)
    thread.start()
    try:
        while interrupted < INTERRUPTED or outside < INTERRUPTED:
            turns = random.randrange(300)
            try:
                _call(watch, partial(sum, range(turns)))
            except HandlerHung:
                interrupted += 1
            sum(number for number in range(random.randrange(300)))
    except Interrupted:
        pytest.fail("the exception arrived outside of the call")
    finally:
        ended.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
