"""Quests as tables: every run with its objectives and choices, what was paid, what is on offer, and who shares what."""

from __future__ import annotations

from typing import Any

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.quest.v1 import quest_pb2 as said

RUNS = Table("quests", key=("world", "holder", "run"), keeps=("accepted_at",))
OBJECTIVES = Table("quest_objectives", key=("world", "holder", "run", "step", "objective"))
CHOICES = Table("quest_choices", key=("world", "holder", "run", "choice"))
REWARDS = Table("quest_rewards", key=("world", "player", "party", "run"))
OFFERS = Table("quest_offers", key=("world", "player", "quest"))
PARTIES = Table("quest_parties", key=("world", "party", "member"))


def _run(event: Event, run: int, **columns: Any) -> Change:
    return RUNS.put(event.world, event.entity, run, **columns)


def accepted(event: Event, it: said.QuestAccepted) -> list[Change]:
    run = _run(
        event,
        it.run,
        quest=it.quest,
        title=it.title,
        giver=it.giver,
        members=list(it.members),
        accepted_at=event.time_ns,
        limit_minutes=it.limit_minutes,
    )
    return [run, OFFERS.drop(event.world, event.entity, it.quest)]


def stage_began(event: Event, it: said.QuestStageBegan) -> list[Change]:
    return [
        _run(event, it.run, stage=it.stage, stage_text=it.text, step=it.step, status="active"),
        *(
            OBJECTIVES.put(
                *(event.world, event.entity, it.run, it.step, goal.name),
                quest=it.quest,
                kind=goal.kind,
                target=goal.target,
                place=goal.place,
                needed=goal.needed,
                minutes=goal.minutes,
            )
            for goal in it.objectives
        ),
    ]


def progressed(event: Event, it: said.QuestProgressed) -> Change:
    return OBJECTIVES.put(event.world, event.entity, it.run, it.step, it.objective, count=it.count)


def choice_opened(event: Event, it: said.QuestChoiceOpened) -> Change:
    return _run(event, it.run, status="choosing")


def choice_made(event: Event, it: said.QuestChoiceMade) -> Change:
    return CHOICES.put(event.world, event.entity, it.run, it.choice, quest=it.quest, player=it.player, chosen_at=event.time_ns)


def completed(event: Event, it: said.QuestCompleted) -> Change | None:
    if it.party:  # the row is the party's
        return None
    return _run(event, it.run, status="completed", ending=it.ending, ended_at=event.time_ns)


def failed(event: Event, it: said.QuestFailed) -> Change:
    return _run(event, it.run, status="failed", cause=it.cause, ended_at=event.time_ns)


def abandoned(event: Event, it: said.QuestAbandoned) -> Change:
    return _run(event, it.run, status="abandoned", cause=it.player, ended_at=event.time_ns)


def rewarded(event: Event, it: said.QuestRewarded) -> Change:
    return REWARDS.put(
        *(event.world, it.player, it.party, it.run),
        quest=it.quest,
        ending=it.ending,
        currency=it.currency,
        amount_minor=it.amount_minor,
        items={item.sku: item.quantity for item in it.items},
        rewarded_at=event.time_ns,
        event_id=event.id,
    )


def offered(event: Event, it: said.QuestOffered) -> Change:
    return OFFERS.put(
        *(event.world, event.entity, it.quest),
        pattern=it.pattern,
        title=it.title,
        giver=it.giver,
        currency=it.reward.currency,
        amount_minor=it.reward.amount_minor,
        limit_minutes=it.limit_minutes,
        offered_at=event.time_ns,
    )


def gathered(event: Event, it: said.QuestPartyGathered) -> list[Change]:
    return [PARTIES.drop(event.world, event.entity), *(PARTIES.put(event.world, event.entity, member) for member in it.members)]


quests = Projection(
    name="quests",
    version=1,
    said_by="quest",
    schema=sql_beside(__file__),
    tables=(RUNS, OBJECTIVES, CHOICES, REWARDS, OFFERS, PARTIES),
    on={
        said.QuestAccepted: accepted,
        said.QuestStageBegan: stage_began,
        said.QuestProgressed: progressed,
        said.QuestChoiceOpened: choice_opened,
        said.QuestChoiceMade: choice_made,
        said.QuestCompleted: completed,
        said.QuestFailed: failed,
        said.QuestAbandoned: abandoned,
        said.QuestRewarded: rewarded,
        said.QuestOffered: offered,
        said.QuestPartyGathered: gathered,
    },
)
