"""One child process: started so that it cannot outlive us, recorded so that it can be found again, stopped for certain.

The kernel sends a child its parent-death signal when the *thread* that started it ends. All children are therefore started by one thread
that lives as long as the process.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import structlog

from bus.errors import ServerFailed

LAUNCH = Path(__file__).with_name("launch.py")
POLL_S = 0.01
TELL_EVERY_S = 15.0  # while a server takes its time to start
LAST_WORDS = 8192  # bytes
LOG_KEPT = 8 * 1024 * 1024  # bytes; an older log is set aside once, at start

log_ = structlog.get_logger(__name__)
_COMPLAINT = re.compile(r"\[(FTL|ERR)\]|\b(ERROR|FATAL|PANIC|HINT):|nats-server: |Error:")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The user that a child runs as, when not as ourselves."""

    uid: int
    gid: int
    reach: bool  # may pass through folders that are closed to it


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same pid: `born` is boot and clock ticks since boot."""

    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """None when there is no such process, or only its remains."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        state, *rest = stat[stat.rindex(")") + 2 :].split()
        return None if state in "ZX" else cls(pid, f"{boot}:{rest[18]}")

    @property
    def alive(self) -> bool:
        return Identity.of(self.pid) == self


class Process:
    """A server process and its record on disk. Not thread-safe: one owner starts and stops it."""

    def __init__(self, name: str, folder: Path, *, stop_signal: signal.Signals, user: User | None = None) -> None:
        """`folder` holds the record and the log; `stop_signal` asks for a clean end, also when we die ourselves."""
        self.name = name
        self.log = folder / f"{name}.log"
        self._record = folder / f"{name}.pid"
        self._stop_signal = stop_signal
        self._user = user
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0  # where in the log the present run begins

    @property
    def pid(self) -> int | None:
        """The pid while it runs."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def start(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], ready: Callable[[], bool], within_s: float) -> None:
        """Start and return once `ready()`; raises `ServerFailed` with the server's last words when it ends or takes longer."""
        if self.pid is not None:
            return
        if self.log.exists() and self.log.stat().st_size > LOG_KEPT:
            self.log.replace(self.log.with_suffix(".log.1"))
        user = self._user
        who = ("-1", "-1", "0") if user is None else (str(user.uid), str(user.gid), str(int(user.reach)))
        shim = [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), str(int(self._stop_signal)), *who, "--", *command]
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            # A session of its own: Ctrl-C in the terminal reaches us alone, and we stop the servers after the work that needs them.
            self._child = _starter.start(lambda: _popen(shim, cwd, env, log.fileno()))
        identity = Identity.of(self._child.pid)
        self._record.write_text(json.dumps({"pid": self._child.pid, "born": identity.born if identity else ""}))
        began = time.monotonic()
        deadline, tell_at = began + within_s, began + TELL_EVERY_S
        while not ready():
            if self._child.poll() is not None:
                raise ServerFailed(
                    f"{self.name} ended at once with status {self._child.returncode}: {self.last_words()}", log=str(self.log)
                )
            if time.monotonic() > tell_at:
                tell_at += TELL_EVERY_S
                log_.warning("embedded_server_awaited", server=self.name, for_s=round(time.monotonic() - began), log=str(self.log))
            if time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"{self.name} was not ready within {within_s:g} s: {self.last_words()}", log=str(self.log))
            time.sleep(POLL_S)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process if it runs."""
        if self.pid is not None and self._child is not None:
            self._child.send_signal(number)

    def stop(self, within_s: float = 20.0) -> None:
        """End cleanly; by SIGKILL when that takes longer than `within_s`. Does nothing when it does not run."""
        if self._child is None:
            return
        self.signal(self._stop_signal)
        self.signal(signal.SIGCONT)  # a paused process hears nothing else
        try:
            self._child.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._forget()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._forget()

    def stop_stale(self, within_s: float = 10.0) -> None:
        """End the process that a crashed owner of this folder left behind, if it still runs. Call only as the owner of the folder."""
        stale = self.recorded()
        if stale is not None and stale.alive:
            end(stale, self._stop_signal, within_s)
        self._record.unlink(missing_ok=True)

    def recorded(self) -> Identity | None:
        """The process that the record on disk names."""
        try:
            record = json.loads(self._record.read_text())
            return Identity(int(record["pid"]), str(record["born"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def last_words(self) -> str:
        """The server's last words since its start, for an error message: its complaints, or failing those its last lines."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - LAST_WORDS))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        complaints = [line for line in lines if _COMPLAINT.search(line)]
        return "\n".join((complaints or lines)[-8:]) or "it said nothing"

    def _forget(self) -> None:
        self._child = None
        self._record.unlink(missing_ok=True)


def end(process: Identity, stop_signal: signal.Signals, within_s: float) -> None:
    """Ask a process that is not our child to end, then insist. Returns once it is gone; a process that ended meanwhile is no error."""
    for number, patience in ((stop_signal, within_s), (signal.SIGKILL, 10.0)):
        try:
            os.kill(process.pid, number)
            os.kill(process.pid, signal.SIGCONT)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not process.alive:
                return
            time.sleep(POLL_S)
    raise ServerFailed(f"process {process.pid} of an earlier worldbus does not end, even by SIGKILL: its disk may hang", pid=process.pid)


def _popen(shim: Sequence[str], cwd: Path, env: Mapping[str, str], log: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(shim, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


class _Starter:
    """The thread that starts every child and ends only with the process."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._started_in = 0

    def start(self, job: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._started_in != os.getpid():  # a forked copy of us has no such thread yet
                threading.Thread(target=self._run, name="worldbus-starter", daemon=True).start()
                self._started_in = os.getpid()
        done: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((job, done))
        return done.result()

    def _run(self) -> None:
        while True:
            job, done = self._jobs.get()
            try:
                done.set_result(job())
            except BaseException as error:  # handed to the caller, who is waiting for it
                done.set_exception(error)


_starter = _Starter()
