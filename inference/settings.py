"""The settings of a worker: its tier and pool, its name, its times and limits. Values; nothing here reads the environment."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass, field
from typing import Any

from bus.errors import BadSettings
from bus.played import EVERYTHING, Played
from inference.tiers import TIERS, Tier

KEEP_WARM_S = 10.0
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())


def _own_name(role: str = "") -> str:
    return _ending(role, f"{_host()}-{os.getpid()}")


def _ending(role: str, name: str) -> str:
    """`name` behind its role, shortened at the front to what a token holds."""
    start = f"{role}-" if role else ""
    return start + name[len(start) - 64 :]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """One worker. Raises `BadSettings` for values that cannot work."""

    tier: str
    pool: str = ""
    """Machines that serve it; empty: named like the tier."""
    name: str = field(default_factory=_own_name)
    """Name in the log and among the living; one that starts again is another one."""
    series: str = ""
    """Name in metrics, which a restart must not change; empty: `name`."""
    drain_s: float = 5.0
    """Time that a worker which was told to stop lets running answers end."""
    reopen_s: float = 0.5
    """First pause before a failed engine is opened again; it doubles up to 5 seconds, until the engine has given a whole answer."""
    keep_warm_s: float | None = None
    """An engine that was idle for so long generates one token: idle GPUs answer slowly. 0: never; unset: 10 seconds for an engine of this
    process, never for one behind a network, where it would cost money and warm nothing."""
    warm_up: int | None = None
    """The number of the world's prompts that an engine answers before it takes work; unset: all for an engine of this process, none for one
    behind a network."""
    report_s: float = 10.0
    """Between reports of health in the log, while there is something to report."""
    patience_s: float = 2.0
    """Without a model at work: a request that has more time than this waits for one."""
    prompt_nano_usd: int = 0
    completion_nano_usd: int = 0
    """Price of one token, in billionths of a US dollar."""
    played: Played = EVERYTHING
    """The share of the bus that its game plays: it answers requests of those worlds."""

    def __post_init__(self) -> None:
        problems = []
        if self.tier not in TIERS:
            problems.append(f"tier must be one of {', '.join(TIERS)}, found {self.tier!r}")
        for name, value in (("pool", self.pool or "x"), ("name", self.name), ("series", self.series or "x")):
            if _TOKEN.fullmatch(value) is None:
                problems.append(f"{name} must be 1 to 64 of A-Z a-z 0-9 _ -, found {value!r}")
        numbers = ("drain_s", "reopen_s", "keep_warm_s", "warm_up", "report_s", "patience_s", "prompt_nano_usd", "completion_nano_usd")
        problems += [f"{name} must be 0 or more, found {getattr(self, name)}" for name in numbers if (getattr(self, name) or 0) < 0]
        if problems:
            raise BadSettings("worker: " + "; ".join(problems), problems=tuple(problems))

    def keeps_warm_s(self, *, remote: bool) -> float:
        """After how many seconds an idle engine is asked for a token; 0: never."""
        return self.keep_warm_s if self.keep_warm_s is not None else 0.0 if remote else KEEP_WARM_S

    def warms_up(self, prompts: int, *, remote: bool) -> int:
        """The number of these prompts that an engine answers before it takes work."""
        return min(self.warm_up if self.warm_up is not None else 0 if remote else prompts, prompts)

    @property
    def promise(self) -> Tier:
        """The tier's row."""
        return TIERS[self.tier]

    @classmethod
    def of_this_process(cls, tier: str, *, role: str = "", **rest: Any) -> WorkerSettings:
        """A worker named for the host and the process, behind its `role`; its series in metrics are named without the process."""
        return cls(tier=tier, name=_own_name(role), series=_ending(role, _host()), **rest)

    @property
    def series_name(self) -> str:
        return self.series or self.name

    @property
    def pool_name(self) -> str:
        return self.pool or self.tier
