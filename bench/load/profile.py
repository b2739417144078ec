"""The lengths of a world's requests to models: prompt, common beginning and answer, by kind, as a log of that world has them.

`bench.load.lengths` measures one; `DEFAULT` is that of the sample world. A prompt's tokens are those that the model's own tokenizer counted
where a model answered, and an estimate otherwise.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec

from bus.errors import BadSettings

DEFAULT: Final = Path(__file__).with_name("duskmarket.json")
CHARS_PER_TOKEN: Final = 4.0
"""Of the estimate: English in the vocabularies of today's models."""
MOST_SHAPES: Final = 100
Count = Annotated[int, msgspec.Meta(ge=0)]
Some = Annotated[int, msgspec.Meta(ge=1)]


class Shape(NamedTuple):
    """The lengths of one request and its answer."""

    characters: Some
    """Of everything that the model is shown."""
    shared: Count
    """Of these, characters of a beginning that an earlier request had too: an engine with a prefix cache has computed them."""
    tokens: Some
    """Of the prompt."""
    answer: Some
    """Tokens of the answer."""

    @property
    def fresh(self) -> float:
        """Tokens of the prompt that an engine with a prefix cache has to compute."""
        return self.tokens * (1 - self.shared / self.characters)


class Kind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The requests of one kind to one tier."""

    kind: str
    tier: str
    requests: Some  # in the log
    counted: Count  # of these, requests whose tokens the model's own tokenizer counted
    budget_ms: Some  # how long an answer may take, median
    max_tokens: Some  # that an answer may have, median
    shapes: Annotated[tuple[Shape, ...], msgspec.Meta(min_length=1, max_length=10_000)]
    """Of requests that lie evenly among all, ordered by the length of the prompt: each stands for as many."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The requests of a world."""

    measured_from: str
    kinds: Annotated[tuple[Kind, ...], msgspec.Meta(min_length=1)]

    def of(self, tier: str) -> tuple[Kind, ...]:
        """The kinds that a tier is asked for. Raises `BadSettings` if there is none."""
        if not (found := tuple(one for one in self.kinds if one.tier == tier)):
            tiers = ", ".join(sorted({one.tier for one in self.kinds}))
            raise BadSettings(f"profile of {self.measured_from}: wanted requests to {tier}, found only some to {tiers}: name another log")
        return found

    def draw(self, tier: str, dice: random.Random) -> tuple[Kind, Shape]:
        """A request to a tier: kinds as often as they were asked for, each shape of a kind as often as the others."""
        kinds = self.of(tier)
        (kind,) = dice.choices(kinds, [one.requests for one in kinds])
        return kind, dice.choice(kind.shapes)

    def means(self, tier: str) -> Mean:
        """The mean request to a tier."""
        kinds = self.of(tier)
        total = sum(one.requests for one in kinds)
        weighed = [(one.requests / total / len(one.shapes), shape) for one in kinds for shape in one.shapes]
        return Mean(
            characters=math.fsum(weight * shape.characters for weight, shape in weighed),
            tokens=math.fsum(weight * shape.tokens for weight, shape in weighed),
            fresh=math.fsum(weight * shape.fresh for weight, shape in weighed),
            answer=math.fsum(weight * shape.answer for weight, shape in weighed),
        )

    def problems(self) -> Iterator[str]:
        """The profile's faults beyond the ranges of single numbers."""
        for one in self.kinds:
            if any(shape.shared > shape.characters for shape in one.shapes):
                yield f"{one.kind}: wanted a common beginning within its prompt, found a longer one"
            if one.counted > one.requests:
                yield f"{one.kind}: wanted at most {one.requests} counted requests, found {one.counted}"


class Mean(NamedTuple):
    """The mean request to a tier."""

    characters: float
    tokens: float
    fresh: float
    answer: float


def read(path: Path) -> Profile:
    """The profile in a file, as `worldbus bench lengths --write` makes it. Raises `BadSettings`."""
    try:
        profile = msgspec.json.decode(path.read_bytes(), type=Profile)
        found = list(profile.problems())
    except (OSError, ValueError) as error:
        step = "make one with `worldbus bench lengths --profile-from LOG --write FILE`"
        raise BadSettings(f"{path.name}: wanted a profile of lengths, found {error}; {step}") from error
    if found:
        raise BadSettings(f"{path.name}: {'; '.join(found)}")
    return profile


def dumped(profile: Profile) -> str:
    """The profile as a file: a line for each kind's head, and one for its shapes."""
    head = f'{{"measured_from": {_json(profile.measured_from)}, "kinds": ['
    return head + ",".join("\n" + _line(one) for one in profile.kinds) + "\n]}\n"


def _line(one: Kind) -> str:
    fields: Mapping[str, object] = msgspec.structs.asdict(one)
    plain = ", ".join(f"{_json(name)}: {_json(value)}" for name, value in fields.items() if name != "shapes")
    return f'{{{plain}, "shapes":\n{_json(one.shapes)}}}'


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
