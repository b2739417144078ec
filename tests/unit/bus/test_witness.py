"""Time counts as far as a thread was given it: not while the process is stopped, nor while it waits for a processor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CHILD = """
import os, threading, time
if {processor} is not None:
    os.sched_setaffinity(0, [{processor}])
os.nice({niceness})
from bus.witness import Witness
witness = Witness(threading.main_thread().native_id, most_s=0.2)
seconds = 0.0
def look():
    global seconds
    while True:
        time.sleep(0.1)
        seconds += witness.passed()
threading.Thread(target=look, daemon=True).start()
print("ready", flush=True)
until = time.process_time() + {cpu_s}
while time.process_time() < until:
    pass
print(seconds, flush=True)
"""


@contextmanager
def _child(cpu_s: float, *, niceness: int = 0, processor: int | None = None) -> Iterator[subprocess.Popen[str]]:
    script = CHILD.format(cpu_s=cpu_s, niceness=niceness, processor=processor)
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        try:
            yield child
        finally:
            child.kill()


def _told(child: subprocess.Popen[str]) -> float:
    assert child.stdout is not None
    return float(child.stdout.readline())


def test_a_process_that_was_stopped_has_no_time_to_answer_for() -> None:
    with _child(1.0) as child:
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(2.5)
        os.kill(child.pid, signal.SIGCONT)
        witnessed = _told(child)

    assert witnessed < 2.0  # its own second, and what looking at it cost; not the 2.5 s in which it was stopped


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel does not tell how long a thread waits")
def test_a_process_that_starves_has_only_the_time_that_it_got() -> None:
    processor = min(os.sched_getaffinity(0))
    hogs = [subprocess.Popen(["taskset", "-c", str(processor), sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    began = time.monotonic()
    try:
        with _child(0.3, niceness=10, processor=processor) as child:
            witnessed = _told(child)
    finally:
        for one in hogs:
            one.kill()
            one.wait()

    assert time.monotonic() - began > 2 * witnessed
    assert witnessed < 1.0
