"""The arcs of a world as a designer writes them (TOML), read and checked: every problem is named, none is guessed around."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bus import toml
from handlers.names import NAME_RULE, is_token
from handlers.storyteller.needs import Need
from handlers.storyteller.needs import parse as parse_need

CAUSES: Final = ("quest", "quest_failed", "scene", "change", "slain", "bargain", "raid", "weather", "season", "day")
MAX_TENSION: Final = 1000  # thousandths
MAX_MINUTES: Final = 525_600
MAX_PARTS: Final = 8  # facts, changes, consequences and choices of one beat
MAX_TEXT: Final = 2000  # characters
MAX_AMOUNT: Final = 1_000_000_000  # of a consequence, in the unit of its kind

Cause = tuple[str, str]  # what happened, and to what exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Stir:
    """An effect of the world on an arc: `tension` thousandths are added, and facts become true that are not known yet."""

    key: str
    on: str
    value: str
    tension: int
    establishes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """A consequence of the story, for handlers that listen."""

    kind: str
    text: str
    target: str = ""
    amount: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneChange:
    """An object of a scene comes into another condition."""

    scene: str
    object: str
    condition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to go on."""

    name: str
    text: str
    establishes: Mapping[str, str] = field(default_factory=dict)
    consequences: tuple[Consequence, ...] = ()
    changes: tuple[SceneChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A step of an arc. `narrates` are the facts that its narration may establish; an arc is over after a beat that `ends` it."""

    name: str
    title: str
    text: str
    tension: int
    needs: tuple[Need, ...] = ()
    establishes: Mapping[str, str] = field(default_factory=dict)
    narrates: tuple[str, ...] = ()
    consequences: tuple[Consequence, ...] = ()
    changes: tuple[SceneChange, ...] = ()
    choices: tuple[Way, ...] = ()
    ends: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ArcTable:
    """An arc as designed. `curve` is the tension wanted from the first beat to the last, thousandths; `calm` what a pulse takes away."""

    name: str
    title: str
    premise: str
    starts: tuple[Cause, ...]
    pulse_minutes: int
    calm: int
    choice_minutes: int
    curve: tuple[int, ...]
    facts: Mapping[str, tuple[str, ...]]
    stirs: tuple[Stir, ...]
    beats: Mapping[str, Beat]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Checked arcs of a world; `listening` says which arcs care about what."""

    arcs: Mapping[str, ArcTable]
    listening: Mapping[Cause, tuple[str, ...]]


def load(path: Path) -> Tables:
    """The arcs in a TOML file; raises `BadSettings` with every problem found."""
    return toml.read(path, parse)


def parse(table: Mapping[str, Any], name: str) -> Tables:
    """The arcs in a parsed file called `name`; raises `BadSettings` with every problem found."""
    root = toml.of(table, name)
    root.only("arcs")
    arcs = {arc: _arc(arc, body) for arc, body in root.tables("arcs").items()}
    root.refuse(f"arcs.{arc.name}: {problem}" for arc in arcs.values() for problem in _problems(arc))
    return Tables(arcs=arcs, listening=_listening(arcs))


def _arc(name: str, body: toml.Table) -> ArcTable:
    beats = [_beat(beat) for beat in body.rows("beats")]
    if len({beat.name for beat in beats}) < len(beats):
        body.refuse(["beats: two beats have the same name"])
    starts = (cause.partition(":") for cause in body.value("starts", tuple[str, ...], ()))
    return body.into(
        ArcTable,
        name=name,
        starts=tuple((on, value) for on, _, value in starts),
        facts=body.value("facts", Mapping[str, tuple[str, ...]], {}),
        stirs=tuple(stir.into(Stir) for stir in body.rows("stirs", optional=True)),
        beats={beat.name: beat for beat in beats},
    )


def _beat(body: toml.Table) -> Beat:
    ways = tuple(choice.into(Way, **_follows(choice)) for choice in body.rows("choices", optional=True))
    return body.into(Beat, needs=tuple(_needs(body)), choices=ways, **_follows(body))


def _needs(body: toml.Table) -> Iterator[Need]:
    for number, need in enumerate(body.value("needs", tuple[str, ...], ())):
        try:
            yield parse_need(need)
        except ValueError as error:
            body.refuse([f"needs.{number}: {error}"])


def _follows(body: toml.Table) -> dict[str, Any]:
    return {
        "consequences": tuple(each.into(Consequence) for each in body.rows("consequences", optional=True)),
        "changes": tuple(each.into(SceneChange) for each in body.rows("changes", optional=True)),
    }


def _listening(arcs: Mapping[str, ArcTable]) -> dict[Cause, tuple[str, ...]]:
    listening: dict[Cause, tuple[str, ...]] = {}
    for arc in arcs.values():
        for cause in dict.fromkeys((*arc.starts, *((stir.on, stir.value) for stir in arc.stirs))):
            listening[cause] = (*listening.get(cause, ()), arc.name)
    return listening


def _problems(arc: ArcTable) -> list[str]:
    found = [f"{name!r} must be {NAME_RULE}" for name in (arc.name, *arc.beats, *arc.facts) if not is_token(name)]
    for fact, values in arc.facts.items():
        if not values or len(set(values)) < len(values) or not all(map(is_token, values)):
            found.append(f"facts.{fact}: wanted one value or more, each once and {NAME_RULE}, found {list(values)}")
    causes = {f"starts.{number}": cause for number, cause in enumerate(arc.starts)}
    causes |= {f"stirs.{number}": (stir.on, stir.value) for number, stir in enumerate(arc.stirs)}
    for where, (on, value) in causes.items():
        if on not in CAUSES or not all(map(is_token, value.split("=", 1))):
            found.append(f"{where}: wanted one of {', '.join(CAUSES)} and a name, found {on}:{value}")
    found += _number_problems(arc)
    for beat in arc.beats.values():
        found += [f"beats.{beat.name}: {problem}" for problem in _beat_problems(beat, arc)]
    return found


def _number_problems(arc: ArcTable) -> list[str]:
    found = []
    for name, minutes in (("pulse_minutes", arc.pulse_minutes), ("choice_minutes", arc.choice_minutes)):
        found += [] if 1 <= minutes <= MAX_MINUTES else [f"{name} must be 1 to {MAX_MINUTES}, found {minutes}"]
    found += [] if 0 <= arc.calm <= MAX_TENSION else [f"calm must be 0 to {MAX_TENSION}, found {arc.calm}"]
    if not arc.curve or any(not 0 <= point <= MAX_TENSION for point in arc.curve):
        found.append(f"curve must have one point or more, each 0 to {MAX_TENSION}, found {list(arc.curve)}")
    keys = [stir.key for stir in arc.stirs]
    found += [] if len(set(keys)) == len(keys) and all(map(is_token, keys)) else [f"stirs: each needs a key of its own, {NAME_RULE}"]
    found += [f"stirs.{each.key}: tension must be -1000 to 1000" for each in arc.stirs if abs(each.tension) > MAX_TENSION]
    for each in arc.stirs:
        found += [f"stirs.{each.key}: {problem}" for problem in _fact_problems(each.establishes, arc)]
        found += [f"stirs.{each.key}: at most {MAX_PARTS} facts"] if len(each.establishes) > MAX_PARTS else []
    return found


def _beat_problems(beat: Beat, arc: ArcTable) -> list[str]:
    found = [f"narrates: there is no fact {fact!r}" for fact in beat.narrates if fact not in arc.facts]
    found += [] if 0 <= beat.tension <= MAX_TENSION else [f"tension must be 0 to {MAX_TENSION}, found {beat.tension}"]
    found += [] if 1 <= len(beat.text) <= MAX_TEXT else [f"text must have 1 to {MAX_TEXT} characters, found {len(beat.text)}"]
    found += [] if any(char.isprintable() and char != " " for char in beat.text) else ["text must have words, found nothing to be read"]
    found += [problem for need in beat.needs for problem in _need_problems(need, arc)]
    names = [path.name for path in beat.choices]
    if names and (len(names) < 2 or len(set(names)) < len(names) or not all(map(is_token, names))):
        found.append(f"wanted two or more choices with names of their own, found {names}")
    parts: tuple[Beat | Way, ...] = (beat, *beat.choices)
    for part in parts:
        found += _fact_problems(part.establishes, arc)
        if max(len(part.establishes), len(part.consequences), len(part.changes), len(names), len(beat.narrates)) > MAX_PARTS:
            found.append(f"wanted at most {MAX_PARTS} of each: facts, consequences, changes and choices")
        found += [
            f"amount must be -{MAX_AMOUNT} to {MAX_AMOUNT}, found {each.amount}"
            for each in part.consequences
            if abs(each.amount) > MAX_AMOUNT
        ]
    return found


def _fact_problems(establishes: Mapping[str, str], arc: ArcTable) -> list[str]:
    return [f"there is no fact {fact}={value}" for fact, value in establishes.items() if value not in arc.facts.get(fact, ())]


def _need_problems(need: Need, arc: ArcTable) -> list[str]:
    known = {
        "beat": need.name in arc.beats,
        "fact": need.value in arc.facts.get(need.name, ()),
        "count": need.name in {stir.key for stir in arc.stirs},
    }
    return [] if known.get(need.kind, True) else [f"needs: the arc knows nothing of {need.text!r}"]
