"""The report of a demo: the one JSON object, and the same for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldbus.demo.account import Account
    from worldbus.demo.proof import Proof
    from worldbus.demo.witness import Witness

NS_PER_MS = 1_000_000
SHOWN_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles, nearest rank; None where nothing was measured."""

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None

    @classmethod
    def of(cls, delays_ns: Iterable[int]) -> Latency:
        """From delays in nanoseconds."""
        ordered = sorted(delays_ns)
        return cls(len(ordered), *(percentile(ordered, share) for share in (0.50, 0.95, 0.99)))


def percentile(ordered: Sequence[int], share: float) -> float | None:
    """The nearest-rank percentile of ordered nanoseconds, in milliseconds.

    >>> percentile([1_000_000, 2_000_000, 9_000_000], 0.5)
    2.0
    """
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] / NS_PER_MS, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerReport:
    """One subsystem: how many events concerned it, how many it said, and how long after an input its first answer was in the log.

    parked         inputs that it could not decide
    decide_p95_us  of a sample of its decisions, microseconds; None if none was sampled
    view, rows     where its facts are asked for first, and how many rows answer
    """

    events_in: int
    events_out: int
    parked: int
    decide_p95_us: float | None
    view: str
    rows: int
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Counts of one run. `proof` only after a lockstep run. `lost`, `duplicated`, `out_of_order` and `parked` are 0 in a good one.

    published     publishes that were acknowledged
    events        events that the log took in this run
    handled       decisions on record, over all handlers
    projected     of the log's events, those in the archive; it moves in one transaction with every table
    first_player  the entity of one of the players, for whoever wants to look further; empty: there is none
    documents, passages  of lore, in the tables
    publish    from an edge's own clock to the log's
    end_to_end from the log's time of an input to the moment when a reader of the tables heard of its last effect
    """

    world: str
    players: int
    first_player: str
    seconds: float
    seed: int
    durability: str
    first: int
    last: int
    published: int
    events: int
    handled: int
    projected: int
    lost: int
    duplicated: int
    out_of_order: int
    parked: int
    publish: Latency
    end_to_end: Latency
    documents: int
    passages: int
    per_handler: dict[str, HandlerReport]
    problems: list[str]
    proof: Proof | None = None

    @property
    def good(self) -> bool:
        """True if every promise was kept."""
        return not (self.lost or self.duplicated or self.out_of_order or self.parked) and (self.proof is None or self.proof.good)

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return asdict(self)


def report(
    account: Account,
    witness: Witness,
    *,
    projected: int,
    decide_us: Mapping[str, float] | None = None,
    views: Mapping[str, tuple[str, int]] | None = None,
    **run: Any,
) -> Report:
    """Draw up the report of a settled account; `decide_us` and `views` by subsystem, `run` are the facts of the run itself."""
    decide_us, views = decide_us or {}, views or {}
    faults = account.faults
    ends = ((account.inputs[cause], witness.seen_ns(last)) for cause, last in account.answered.items() if cause in account.inputs)
    return Report(
        **run,
        events=account.events,
        handled=account.handled,
        projected=projected,
        lost=len(faults.lost),
        duplicated=len(faults.duplicated),
        out_of_order=len(faults.out_of_order),
        parked=len(faults.parked),
        publish=Latency.of(account.say_delays_ns),
        end_to_end=Latency.of(seen - one.recorded_ns for one, seen in ends if seen is not None),
        per_handler={
            name: HandlerReport(
                events_in=share.events_in,
                events_out=share.events_out,
                parked=share.parked,
                decide_p95_us=decide_us.get(name),
                view=views.get(name, ("", 0))[0],
                rows=views.get(name, ("", 0))[1],
                latency=Latency.of(share.delays_ns),
            )
            for name, share in account.shares.items()
        },
        problems=faults.lines()[:SHOWN_FAULTS],
    )
