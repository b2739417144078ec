"""The quests of a world as a designer writes them (TOML), read and checked: every problem is named, none is guessed around."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bus import toml
from handlers import coins
from handlers.names import NAME_RULE, is_token
from handlers.quest_system.model import DEEDS, KINDS, REPEATS, Choice, Deed, Ending, Objective, Pattern, Quest, Stage

MAX_OBJECTIVES: Final = 6  # in a stage
MAX_COUNT: Final = 1_000_000
MAX_MINUTES: Final = 525_600  # a year of 365 days
MAX_AMOUNT: Final = 10**12
_SKU: Final = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Checked quests and patterns of a world. `followers` says for each quest which others wait for it."""

    quests: Mapping[str, Quest]
    patterns: Mapping[str, Pattern]
    followers: Mapping[str, tuple[str, ...]]


def load(path: Path) -> Tables:
    """The quests in a TOML file; raises `BadSettings` with every problem found."""
    return toml.read(path, parse)


def parse(table: Mapping[str, Any], name: str) -> Tables:
    """The quests in a parsed file called `name`; raises `BadSettings` with every problem found."""
    root = toml.of(table, name)
    root.only("quests", "patterns", "currencies")
    known = coins.currencies(root)
    quests = {quest: _quest(quest, body) for quest, body in root.tables("quests", optional=True).items()}
    patterns = {pattern: body.into(Pattern, name=pattern) for pattern, body in root.tables("patterns", optional=True).items()}
    found = [problem for quest in quests.values() for problem in _quest_problems(quest, quests, known)]
    found += [problem for pattern in patterns.values() for problem in _pattern_problems(pattern, known)]
    found += [f"patterns.{both}: there is a quest of that name too" for both in patterns.keys() & quests.keys()]
    root.refuse(found)
    return Tables(quests=quests, patterns=patterns, followers=_followers(quests))


def _quest(name: str, body: toml.Table) -> Quest:
    return body.into(
        Quest,
        name=name,
        stages=tuple(map(_stage, body.rows("stages"))),
        endings=tuple(_ending(ending, pays) for ending, pays in body.tables("endings").items()),
    )


def _stage(body: toml.Table) -> Stage:
    return body.into(
        Stage,
        objectives=tuple(objective.into(Objective) for objective in body.rows("objectives", optional=True)),
        choices=tuple(choice.into(Choice) for choice in body.rows("choices", optional=True)),
        forbids=tuple(deed.into(Deed) for deed in body.rows("forbids", optional=True)),
    )


def _ending(name: str, body: toml.Table) -> Ending:
    return body.into(Ending, name=name, items=tuple(map(_item, body.rows("items", optional=True))))


def _item(body: toml.Table) -> tuple[str, int]:
    body.only("sku", "quantity")
    return body.value("sku", str), body.value("quantity", int)


def _followers(quests: Mapping[str, Quest]) -> dict[str, tuple[str, ...]]:
    waits: dict[str, tuple[str, ...]] = {}
    for quest in quests.values():
        for need in {need.partition("=")[0] for need in quest.after}:
            waits[need] = (*waits.get(need, ()), quest.name)
    return waits


def _quest_problems(quest: Quest, quests: Mapping[str, Quest], known: Sequence[str]) -> list[str]:
    found = _name_problems(quest.name, [stage.name for stage in quest.stages], [ending.name for ending in quest.endings])
    found += [f"repeat must be one of {', '.join(REPEATS)}, found {quest.repeat!r}"] if quest.repeat not in REPEATS else []
    found += [f"giver must be {NAME_RULE}, found {quest.giver!r}"] if quest.giver and not is_token(quest.giver) else []
    found += ["a daily quest cannot be shared"] if quest.shared and quest.repeat == "daily" else []
    found += _limit_problems(quest.limit_minutes)
    if quest.stage(quest.first) is None:
        found.append(f"first must name a stage, found {quest.first!r}")
    for need in quest.after:
        other, _, ending = need.partition("=")
        if other not in quests or (ending and quests[other].ending(ending) is None):
            found.append(f"after: there is no {need!r}")
    states = [goal for stage in quest.stages for goal in stage.objectives if goal.kind == "state"]
    if len(states) > (0 if quest.shared else 2):
        found.append("wanted at most two objectives of kind state, and none in a shared quest")
    for stage in quest.stages:
        found += [f"stages.{stage.name}: {problem}" for problem in _stage_problems(stage, quest)]
    for end in quest.endings:
        found += [f"endings.{end.name}: {problem}" for problem in _ending_problems(end, known)]
    found += _reach_problems(quest)
    return [f"quests.{quest.name}: {problem}" for problem in found]


def _name_problems(name: str, stages: Sequence[str], endings: Sequence[str]) -> list[str]:
    found = [f"{each!r} must be {NAME_RULE}" for each in (name, *stages, *endings) if not is_token(each)]
    twice = {each for each in (*stages, *endings) if (*stages, *endings).count(each) > 1}
    return found + [f"{each!r} names two stages or endings" for each in sorted(twice)]


def _limit_problems(minutes: int) -> list[str]:
    return [] if 0 <= minutes <= MAX_MINUTES else [f"limit_minutes must be 0 to {MAX_MINUTES}, found {minutes}"]


def _stage_problems(stage: Stage, quest: Quest) -> list[str]:
    found = _limit_problems(stage.limit_minutes)
    names = [objective.name for objective in stage.objectives]
    if len(names) > MAX_OBJECTIVES or len(set(names)) < len(names) or not all(map(is_token, names)):
        found.append(f"wanted at most {MAX_OBJECTIVES} objectives with names of their own, each {NAME_RULE}, found {names}")
    if sum(objective.kind == "wait" for objective in stage.objectives) > 1:
        found.append("wanted at most one objective of kind wait")
    found += [problem for objective in stage.objectives for problem in _objective_problems(objective)]
    found += [f"forbids: there is no deed {ban.kind!r}" for ban in stage.forbids if ban.kind not in DEEDS]
    if bool(stage.next) == bool(stage.choices):
        found.append("wanted either next or choices")
    if stage.next and not stage.objectives:
        found.append("a stage without objectives needs choices")
    choices = [choice.name for choice in stage.choices]
    if choices and (len(choices) < 2 or len(set(choices)) < len(choices) or not all(map(is_token, choices))):
        found.append(f"wanted two or more choices with names of their own, each {NAME_RULE}, found {choices}")
    found += [f"{way!r} is neither a stage nor an ending" for way in ways(stage) if quest.stage(way) is None and quest.ending(way) is None]
    return found


def _objective_problems(goal: Objective) -> list[str]:
    where = f"objectives.{goal.name}"
    found = [f"{where}: there is no kind {goal.kind!r}, there are {', '.join(KINDS)}"] if goal.kind not in KINDS else []
    found += [f"{where}: {text!r} is not {NAME_RULE}" for text in (goal.target, goal.place) if text and not is_token(text)]
    if not 1 <= goal.count <= MAX_COUNT:
        found.append(f"{where}: count must be 1 to {MAX_COUNT}, found {goal.count}")
    if goal.kind == "wait" and not (1 <= goal.minutes <= MAX_MINUTES and goal.count == 1):
        found.append(f"{where}: wanted minutes 1 to {MAX_MINUTES} and no count, found {goal.minutes} and {goal.count}")
    if goal.kind != "wait" and goal.minutes:
        found.append(f"{where}: minutes are for kind wait; give the stage a limit_minutes instead")
    return found


def _ending_problems(ending: Ending, known: Sequence[str]) -> list[str]:
    found = [f"sku {sku!r} must be 1 to 64 of a-z 0-9 _ -" for sku, _ in ending.items if _SKU.fullmatch(sku) is None]
    found += [f"{sku}: quantity must be 1 to {MAX_COUNT}, found {many}" for sku, many in ending.items if not 1 <= many <= MAX_COUNT]
    found += coins.reward_problems(ending.currency, ending.amount_minor, known)
    if not 0 <= ending.amount_minor <= MAX_AMOUNT:
        found.append(f"amount_minor must be 0 to {MAX_AMOUNT}, found {ending.amount_minor}")
    return found


def ways(stage: Stage) -> Iterable[str]:
    """The stages that may follow a stage."""
    return (stage.next,) if stage.next else tuple(choice.next for choice in stage.choices)


def _reach_problems(quest: Quest) -> list[str]:
    """Stages nobody can come to, and those from which no ending can be reached."""
    leads = {stage.name: set(ways(stage)) for stage in quest.stages}
    reached, ahead = set[str](), [quest.first]
    while ahead:
        if (name := ahead.pop()) not in reached:
            reached.add(name)
            ahead += leads.get(name, ())
    ends = {ending.name for ending in quest.endings}
    while more := {name for name, ways_on in leads.items() if name not in ends and ways_on & ends}:
        ends |= more
    found = [f"{name!r} cannot be reached" for name in (*leads, *(ending.name for ending in quest.endings)) if name not in reached]
    return found + [f"no ending can be reached from {name!r}" for name in leads if name not in ends]


def _pattern_problems(pattern: Pattern, known: Sequence[str]) -> list[str]:
    found = [f"{name!r} must be {NAME_RULE}" for name in (*pattern.givers, *pattern.targets, *pattern.places) if not is_token(name)]
    found += [] if is_token(pattern.name) and len(pattern.name) <= 47 else ["a pattern's name must be 1 to 47 of A-Z a-z 0-9 _ -"]
    found += [] if pattern.givers and pattern.targets else ["wanted at least one giver and one target"]
    found += [f"there is no deed {pattern.kind!r}"] if pattern.kind not in DEEDS[:-1] else []
    for field, (low, high), most in (("count", pattern.count, MAX_COUNT), ("pay_each", pattern.pay_each, MAX_AMOUNT // MAX_COUNT)):
        found += [] if 1 <= low <= high <= most else [f"{field} must be a rising range within 1 to {most}, found {[low, high]}"]
    if not 0 <= pattern.minutes_each * pattern.count[1] <= MAX_MINUTES:
        found.append(f"minutes_each times the highest count must be 0 to {MAX_MINUTES}, found {pattern.minutes_each * pattern.count[1]}")
    if not coins.is_one(pattern.currency, known):
        found.append(f"currency must be {coins.one_of(known)}, found {pattern.currency!r}")
    try:
        pattern.title.format(count=1, target="", place="", giver="")
    except (KeyError, IndexError, ValueError) as error:
        found.append(f"title may use {{count}}, {{target}}, {{place}} and {{giver}}, found {error!r}")
    return [f"patterns.{pattern.name}: {problem}" for problem in found]
