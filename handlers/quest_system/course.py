"""The course of a run: deeds count, stages follow each other, and it ends exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from google.protobuf.message import Message

from handlers.quest_system.messages import items, objective
from handlers.quest_system.model import Deed, Ending, Objective, Quest, Stage
from handlers.quest_system.state import Quests, Run
from handlers.quest_system.tables import Tables
from schemas.gen.worldbus.quest.v1.quest_pb2 import (
    QuestAbandoned,
    QuestAccepted,
    QuestChoiceMade,
    QuestChoiceOpened,
    QuestCompleted,
    QuestFailed,
    QuestProgressed,
    QuestRewarded,
    QuestStageBegan,
    SharedQuestClosed,
)
from schemas.gen.worldbus.quest.v1.types_pb2 import QuestPath
from schemas.gen.worldbus.time.v1.time_pb2 import WakeCancelRequested, WakeRequested

MINUTE_MS: Final = 60_000

Said = Sequence[Message]


def quest_of(tables: Tables, run: Run) -> Quest | None:
    """The quest of a run; None when the table does not know it any more."""
    return run.made_up or tables.quests.get(run.quest)


def begin(quests: Quests, quest: Quest) -> Said:
    """A new run of the quest."""
    run = Run(quest=quest.name, number=quests.runs + 1, limited=quest.limit_minutes > 0)
    accepted = QuestAccepted(
        quest=quest.name,
        run=run.number,
        title=quest.title,
        giver=quest.giver,
        limit_minutes=quest.limit_minutes,
        members=quests.members,
    )
    limit = (WakeRequested(name=_limit(run), in_world_ms=quest.limit_minutes * MINUTE_MS),) if run.limited else ()
    first = quest.stage(quest.first)
    assert first is not None  # the table was checked
    return accepted, *limit, *_enter(run, first)


def _enter(run: Run, stage: Stage) -> Said:
    step = run.step + 1
    entered = replace(run, step=step)
    began = QuestStageBegan(
        quest=run.quest,
        run=run.number,
        stage=stage.name,
        step=step,
        text=stage.text,
        objectives=[objective(goal) for goal in stage.objectives],
        limit_minutes=stage.limit_minutes,
    )
    said: list[Message] = [began]
    if stage.limit_minutes:
        said.append(WakeRequested(name=_stage_limit(entered), in_world_ms=stage.limit_minutes * MINUTE_MS))
    waits = [goal.minutes for goal in stage.objectives if goal.kind == "wait"]
    said += [WakeRequested(name=_wait(entered), in_world_ms=minutes * MINUTE_MS) for minutes in waits]
    if not stage.objectives:
        said.append(_opened(entered, stage))
    return said


def _opened(run: Run, stage: Stage) -> QuestChoiceOpened:
    paths = [QuestPath(name=choice.name, text=choice.text) for choice in stage.choices]
    return QuestChoiceOpened(quest=run.quest, run=run.number, step=run.step, choices=paths)


def heard(tables: Tables, quests: Quests, deeds: Sequence[Deed], player: str) -> Said:
    """The events that deeds, all of one moment, lead to in every run of this holder."""
    said: list[Message] = []
    for run in quests.active:
        said += heard_by(tables, quests, run, deeds, player)
    return said


def heard_by(tables: Tables, quests: Quests, run: Run, deeds: Sequence[Deed], player: str) -> Said:
    """The events that deeds, all of one moment, lead to in one run."""
    quest = quest_of(tables, run)
    stage = quest.stage(run.stage) if quest else None
    if quest is None or stage is None:
        return fail(quests, run, "withdrawn")
    if any(deed.is_a(ban.kind, ban.target, ban.place) for ban in stage.forbids for deed in deeds):
        return fail(quests, run, "forbidden")
    done = [
        (index, after)
        for index, (goal, count) in enumerate(zip(run.goals, run.counts, strict=True))
        if (after := _after(goal, count, deeds)) > count
    ]
    return _counted(tables, quests, run, done, player) if done else ()


def _after(goal: Objective, count: int, deeds: Sequence[Deed]) -> int:
    for deed in deeds:
        if count < goal.count and deed.is_a(goal.kind, goal.target, goal.place):
            count = min(goal.count, deed.after(count))
    return count


def waited(tables: Tables, quests: Quests, run: Run, player: str) -> Said:
    """The time to wait is over."""
    index = next((index for index, goal in enumerate(run.goals) if goal.kind == "wait"), -1)
    return _counted(tables, quests, run, [(index, 1)], player) if index >= 0 and run.counts[index] == 0 else ()


def _counted(tables: Tables, quests: Quests, run: Run, done: Sequence[tuple[int, int]], player: str) -> Said:
    counts = list(run.counts)
    said: list[Message] = []
    for index, count in done:
        goal, counts[index] = run.goals[index], count
        said.append(
            QuestProgressed(
                quest=run.quest, run=run.number, step=run.step, objective=goal.name, count=count, needed=goal.count, player=player
            )
        )
    after = replace(run, counts=tuple(counts))
    return (*said, *_advance(tables, quests, after, player)) if after.met else said


def _advance(tables: Tables, quests: Quests, run: Run, player: str) -> Said:
    quest = quest_of(tables, run)
    stage = quest.stage(run.stage) if quest else None
    if quest is None or stage is None:
        return fail(quests, run, "withdrawn")
    return (_opened(run, stage),) if stage.choices else _go(tables, quests, run, quest, stage.next, player)


def choose(tables: Tables, quests: Quests, run: Run, choice: str, player: str) -> Said | None:
    """The holder's choice and what follows; None if the stage has no such choice."""
    quest = quest_of(tables, run)
    stage = quest.stage(run.stage) if quest else None
    if quest is None or stage is None:
        return fail(quests, run, "withdrawn")
    chosen = next((each for each in stage.choices if each.name == choice), None)
    if chosen is None:
        return None
    made = QuestChoiceMade(quest=run.quest, run=run.number, choice=choice, player=player)
    return made, *_go(tables, quests, run, quest, chosen.next, player)


def _go(tables: Tables, quests: Quests, run: Run, quest: Quest, name: str, player: str) -> Said:
    if (ending := quest.ending(name)) is not None:
        return _complete(tables, quests, run, ending, player)
    stage = quest.stage(name)
    assert stage is not None  # the table was checked
    cancelled = (WakeCancelRequested(name=_stage_limit(run)),) if run.stage_limited else ()
    return *cancelled, *_enter(run, stage)


def _complete(tables: Tables, quests: Quests, run: Run, ending: Ending, player: str) -> Said:
    completed = QuestCompleted(quest=run.quest, run=run.number, ending=ending.name, members=quests.members)
    if quests.members:  # they hear it, and each is paid in a lane of their own
        return *_cancels(run), completed
    if run.made_up is None:
        completed.unlocked.extend(unlocked(tables, quests, run.quest, ending.name))
    return *_cancels(run), completed, *rewarded(player, completed, ending)


def unlocked(tables: Tables, quests: Quests, quest: str, ending: str) -> Sequence[str]:
    """The quests that wait for this one and, once it is completed, for nothing more."""
    after = replace(quests, done=(*(each for each in quests.done if each[0] != quest), (quest, ending)))
    followers = (tables.quests[name] for name in tables.followers.get(quest, ()))
    return [
        other.name
        for other in followers
        if all(map(after.has_done, other.after)) and not all(map(quests.has_done, other.after)) and not after.has_done(other.name)
    ]


def rewarded(player: str, it: QuestCompleted, ending: Ending, party: str = "") -> Said:
    """The reward of one player; no event if there is none."""
    if not ending.amount_minor and not ending.items:
        return ()
    return (
        QuestRewarded(
            player=player,
            quest=it.quest,
            run=it.run,
            ending=it.ending,
            currency=ending.currency,
            amount_minor=ending.amount_minor,
            items=items(ending),
            party=party,
        ),
    )


def fail(quests: Quests, run: Run, cause: str) -> Said:
    """The run ends badly."""
    return *_cancels(run), QuestFailed(quest=run.quest, run=run.number, cause=cause, stage=run.stage), *_closed(quests, run)


def abandon(quests: Quests, run: Run, player: str) -> Said:
    """The holder gives the run up."""
    return *_cancels(run), QuestAbandoned(quest=run.quest, run=run.number, player=player), *_closed(quests, run)


def _closed(quests: Quests, run: Run) -> Said:
    return (SharedQuestClosed(quest=run.quest, run=run.number, members=quests.members),) if quests.members else ()


def _cancels(run: Run) -> Said:
    waits = any(goal.kind == "wait" and count == 0 for goal, count in zip(run.goals, run.counts, strict=True))
    names = ((_limit(run), run.limited), (_stage_limit(run), run.stage_limited), (_wait(run), waits))
    return tuple(WakeCancelRequested(name=name) for name, planned in names if planned)


def woken(tables: Tables, quests: Quests, name: str, player: str) -> Said:
    """A wake that a run asked for; one of a run or a stage that is over means nothing."""
    for run in quests.active:
        if name in (_limit(run), _stage_limit(run)):
            return fail(quests, run, "time")
        if name == _wait(run):
            return waited(tables, quests, run, player)
    return ()


def _limit(run: Run) -> str:
    """Names of wakes: each run and stage has its own, so that one still under way cannot end the next."""
    return f"limit-{run.number}"


def _stage_limit(run: Run) -> str:
    return f"stage-{run.number}-{run.step}"


def _wait(run: Run) -> str:
    return f"wait-{run.number}-{run.step}"
