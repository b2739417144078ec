"""The scenes of a world as a designer writes them (TOML), read and checked: every problem is named, none is guessed around."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bus import toml
from handlers import coins
from handlers.names import NAME_RULE, is_token

CAUSES: Final = ("weather", "slain", "season", "quest")
MAX_WEIGHT: Final = 100
MAX_MINUTES: Final = 525_600  # a year of 365 days
MAX_AMOUNT: Final = 10**12
_SKU: Final = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)

Trigger = tuple[str, str, str]  # cause, what exactly, and for weather and slain the place (else empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition of an object. After `minutes` of world time (0: for ever) it becomes `then`."""

    name: str
    weight: int
    text: str
    minutes: int = 0
    then: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """An object of a scene; it begins in the first of its conditions."""

    name: str
    conditions: tuple[Condition, ...]

    def condition(self, name: str) -> Condition | None:
        """The condition of that name, if there is one."""
        return next((condition for condition in self.conditions if condition.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule that changes an object. An empty `begin` is any condition."""

    on: str
    value: str
    object: str
    begin: tuple[str, ...]
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A story told by things; whoever has found `needs` of weight has discovered it."""

    name: str
    place: str
    title: str
    text: str
    needs: int
    objects: Mapping[str, Thing]
    changes: tuple[Rule, ...] = ()
    currency: str = ""
    amount_minor: int = 0
    items: tuple[tuple[str, int], ...] = ()

    def trigger(self, rule: Rule) -> Trigger:
        """The trigger that a rule of this scene waits for."""
        return rule.on, rule.value, self.place if rule.on in ("weather", "slain") else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Checked scenes of a world; `triggers` says which scenes wait for what."""

    scenes: Mapping[str, Scene]
    triggers: Mapping[Trigger, tuple[str, ...]]


def load(path: Path) -> Tables:
    """The scenes in a TOML file; raises `BadSettings` with every problem found."""
    return toml.read(path, parse)


def parse(table: Mapping[str, Any], name: str) -> Tables:
    """The scenes in a parsed file called `name`; raises `BadSettings` with every problem found."""
    root = toml.of(table, name)
    root.only("scenes", "currencies")
    known = coins.currencies(root)
    scenes = {scene: _scene(scene, body) for scene, body in root.tables("scenes").items()}
    root.refuse(f"scenes.{scene.name}: {problem}" for scene in scenes.values() for problem in _problems(scene, known))
    return Tables(scenes=scenes, triggers=_triggers(scenes))


def _scene(name: str, body: toml.Table) -> Scene:
    return body.into(
        Scene,
        name=name,
        objects={
            thing: each.into(Thing, name=thing, conditions=tuple(one.into(Condition) for one in each.rows("conditions")))
            for thing, each in body.tables("objects").items()
        },
        changes=tuple(map(_rule, body.rows("changes", optional=True))),
        items=tuple(map(_item, body.rows("items", optional=True))),
    )


def _item(body: toml.Table) -> tuple[str, int]:
    body.only("sku", "quantity")
    return body.value("sku", str), body.value("quantity", int)


def _rule(body: toml.Table) -> Rule:
    return body.into(Rule, renamed={"begin": "from"}, begin=body.value("from", tuple[str, ...], ()))


def _triggers(scenes: Mapping[str, Scene]) -> dict[Trigger, tuple[str, ...]]:
    waiting: dict[Trigger, tuple[str, ...]] = {}
    for scene in scenes.values():
        for trigger in dict.fromkeys(scene.trigger(rule) for rule in scene.changes):
            waiting[trigger] = (*waiting.get(trigger, ()), scene.name)
    return waiting


def _problems(scene: Scene, known: Sequence[str]) -> list[str]:
    names = (scene.name, scene.place, *scene.objects)
    found = [f"{name!r} must be {NAME_RULE}" for name in names if not is_token(name)]
    for thing in scene.objects.values():
        found += [f"objects.{thing.name}: {problem}" for problem in _thing_problems(thing)]
    for number, rule in enumerate(scene.changes):
        found += [f"changes.{number}: {problem}" for problem in _rule_problems(rule, scene)]
    return found + _weight_problems(scene) + _reward_problems(scene, known)


def _thing_problems(thing: Thing) -> list[str]:
    names = [condition.name for condition in thing.conditions]
    found = [] if names and len(set(names)) == len(names) else [f"wanted one condition or more with names of their own, found {names}"]
    for each in thing.conditions:
        found += [] if is_token(each.name) else [f"{each.name!r} must be {NAME_RULE}"]
        if not 0 <= each.weight <= MAX_WEIGHT:
            found.append(f"{each.name}: weight must be 0 to {MAX_WEIGHT}, found {each.weight}")
        if not 0 <= each.minutes <= MAX_MINUTES or bool(each.minutes) != bool(each.then):
            found.append(
                f"{each.name}: wanted both minutes (1 to {MAX_MINUTES}) and then, or neither, found {each.minutes} and {each.then!r}"
            )
        if each.then and (each.then not in names or each.then == each.name):
            found.append(f"{each.name}: then must be another condition, found {each.then!r}")
    if thing.conditions and thing.conditions[0].minutes:
        found.append(f"{thing.conditions[0].name}: the first condition has no beginning to count from, so it cannot end by itself")
    return found


def _rule_problems(rule: Rule, scene: Scene) -> list[str]:
    found = [] if rule.on in CAUSES else [f"on must be one of {', '.join(CAUSES)}, found {rule.on!r}"]
    found += [] if all(map(is_token, rule.value.split("=", 1))) else [f"value {rule.value!r} must be {NAME_RULE}"]
    if (thing := scene.objects.get(rule.object)) is None:
        return [*found, f"there is no object {rule.object!r}"]
    return found + [f"{rule.object} has no condition {name!r}" for name in (*rule.begin, rule.to) if thing.condition(name) is None]


def _weight_problems(scene: Scene) -> list[str]:
    most = sum(max((each.weight for each in thing.conditions), default=0) for thing in scene.objects.values())
    return [] if 1 <= scene.needs <= most else [f"needs must be 1 to {most}, all that its objects can tell, found {scene.needs}"]


def _reward_problems(scene: Scene, known: Sequence[str]) -> list[str]:
    found = [f"sku {sku!r} must be 1 to 64 of a-z 0-9 _ -" for sku, _ in scene.items if _SKU.fullmatch(sku) is None]
    found += [f"{sku}: quantity must be 1 to 1000000, found {many}" for sku, many in scene.items if not 1 <= many <= 1_000_000]
    found += coins.reward_problems(scene.currency, scene.amount_minor, known)
    found += [] if 0 <= scene.amount_minor <= MAX_AMOUNT else [f"amount_minor must be 0 to {MAX_AMOUNT}, found {scene.amount_minor}"]
    return found
