"""The account of one load. Everything is a share of what was offered: what was shed, expired or answered from a lower rung is a miss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.harness import Result
from bench.load.players import Asked

SPOKEN_BY_MODEL = ("full", "shorter", "choice")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share does not exceed; 0 of nothing."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else 0.0


def result(name: str, value: float, unit: str, against: str, ratio: float | None = None) -> Result:
    """A figure."""
    return Result(name=name, value=value, unit=unit, against=against, ratio=ratio)


def percentiles(name: str, seconds: Sequence[float], against: str, shares: Sequence[float] = (0.5, 0.95, 0.99)) -> Iterator[Result]:
    """Some percentiles, in milliseconds."""
    for share in shares:
        yield result(f"{name}_p{round(share * 100)}", percentile(seconds, share) * 1000, "ms", against)


@dataclass(frozen=True, slots=True)
class Account:
    """The outcome of one load."""

    offered: Sequence[Asked]

    @property
    def seconds(self) -> float:
        """From the first request to the last end: what was answered behind the last request took its time too."""
        ends = [max(one.ended, one.at) for one in self.offered]
        return max(ends, default=1.0) - min((one.at for one in self.offered), default=0.0)

    @property
    def speakable(self) -> float:
        """Of the offered: something was heard by the deadline."""
        return sum(one.in_time for one in self.offered) / max(1, len(self.offered))

    @property
    def full(self) -> float:
        """Of the offered: the whole answer by the deadline. This is the attainment."""
        return sum(one.full for one in self.offered) / max(1, len(self.offered))

    @property
    def fallback(self) -> float:
        """Of the offered: answered, but not by the full rung."""
        return sum(one.kind == "InferenceDegraded" for one in self.offered) / max(1, len(self.offered))

    @property
    def admitted(self) -> Sequence[Asked]:
        """The requests for which an engine was called."""
        return [one for one in self.offered if one.engine not in ("", "grammar", "authored")]

    @property
    def admitted_ok(self) -> float:
        """Of the admitted: answered by the model, on whatever rung it was admitted for, by the deadline."""
        admitted = self.admitted
        return sum(one.full or (one.rung in SPOKEN_BY_MODEL and one.in_time) for one in admitted) / max(1, len(admitted))

    @property
    def worst_player(self) -> float:
        """The points by which the attainment of the worst served player lies below that of all."""
        by_player: dict[str, list[bool]] = {}
        for one in self.offered:
            by_player.setdefault(one.player, []).append(one.full)
        return self.full - min((sum(fulls) / len(fulls) for fulls in by_player.values()), default=0.0)

    def results(self, load: str, capacity: float, of: str = "capacity, called directly") -> Iterator[Result]:
        """Every figure of it."""
        count = len(self.offered)
        late = max((one.heard - one.deadline for one in self.offered if one.heard), default=0.0)
        never = sum(not one.heard for one in self.offered)
        against = f"a chunk heard by the deadline; {count} offered, {never} never, the last {late * 1000:.0f} ms past it; wanted 1"
        yield result(f"{load}_speakable", self.speakable, "of offered", against)
        against = f"{len(self.admitted)} of {count} admitted: an engine was called"
        yield result(f"{load}_admitted_ok", self.admitted_ok, "of admitted", f"{against}; wanted 0.99 (timed), 0.95 (vllm)")
        yield result(f"{load}_full", self.full, "of offered", "attainment: answered in full by the deadline")
        goodput = self.full * count / self.seconds
        yield result(f"{load}_goodput", goodput, "answers/s", f"{of}, {capacity:.1f}/s", goodput / capacity)
        heard = [one.heard - one.at for one in self.offered if one.heard]
        yield from percentiles(f"{load}_heard", heard, "request made to first chunk heard, whatever said it")
        yield from self._engine_times(load)
        total = [one.ended - one.at for one in self.offered if one.ended]
        yield from percentiles(f"{load}_total", total, "request made to its end heard")
        for rung, number in sorted(Counter(one.rung for one in self.offered).items()):
            yield result(f"{load}_rung_{rung}", number / count, "of offered", "rung that answered")
        yield from self._spent(load)

    def _engine_times(self, load: str) -> Iterator[Result]:
        measured = [one.end.measured for one in self.admitted]
        first = [one.first_token_us / 1e6 for one in measured if one.first_token_us]
        yield from percentiles(f"{load}_ttft", first, "engine called to first token")
        chunk = [one.first_chunk_us / 1e6 for one in measured if one.first_chunk_us]
        yield from percentiles(f"{load}_first_chunk", chunk, "engine called to first speakable chunk")
        each = [one.per_token_us / 1e6 for one in measured if one.per_token_us]
        yield from percentiles(f"{load}_tpot", each, "between tokens, mean of each request")

    def _spent(self, load: str) -> Iterator[Result]:
        measured = [one.end.measured for one in self.offered if one.end is not None and one.kind != "InferenceRejected"]
        tokens = sum(one.completion_tokens for one in measured)
        yield result(f"{load}_tokens", tokens / self.seconds, "tokens/s", "generated, also what was thrown away")
        prompt, cached = sum(one.prompt_tokens for one in measured), sum(one.cached_tokens for one in measured)
        yield result(f"{load}_prefix_hits", cached / max(1, prompt), "of tokens", f"prompt tokens found in the cache, of {prompt}")
        cost = sum(one.cost_nano_usd for one in measured) / 1e9
        yield result(
            f"{load}_cost", cost / max(1, len(self.offered)) * 1e6, "micro-USD", "per offered request, at the bench's price per token"
        )
