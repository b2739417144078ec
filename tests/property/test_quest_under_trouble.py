"""Quest rewards under lost acknowledgements, late writes, deaths, sleepers and repeats: every completed run pays once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.event import Draft, Event
from bus.testing import Rehearsal
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, PartyFormed, PlayerSpoke
from schemas.gen.worldbus.inventory.v1.inventory_pb2 import ItemGranted
from schemas.gen.worldbus.player.v1.player_pb2 import PlayerEnteredZone
from schemas.gen.worldbus.quest.v1.quest_pb2 import (
    QuestAbandonRequested,
    QuestAccepted,
    QuestAcceptRequested,
    QuestCompleted,
    QuestRewarded,
    QuestWorkRequested,
)
from tests.duskmarket import quest
from tests.laws import examples
from tests.simulator import PARTITIONS, WORLD, Member, World

PLAYERS = ("mira", "ben")
HOUNDS = CreatureSlain(creature="moor-hound", place="old-moor", quantity=12)
REPORT = PlayerSpoke(npc="warden-pell")

Wish = tuple[str, str, Message]  # who, in whose word, what
players = st.sampled_from(PLAYERS)
alone: st.SearchStrategy[Wish] = st.tuples(players, st.just("game"), st.just(QuestAcceptRequested(quest="hounds-of-the-moor")))
together: st.SearchStrategy[Wish] = st.tuples(
    players, st.just("game"), st.just(QuestAcceptRequested(quest="hounds-of-the-moor", party="pack"))
)
deeds: st.SearchStrategy[Wish] = st.one_of(
    st.tuples(players, st.just("game"), st.just(HOUNDS)),
    st.tuples(players, st.just("game"), st.just(REPORT)),
    st.tuples(players, st.just("game"), st.just(QuestWorkRequested(npc="warden-pell"))),
    st.tuples(players, st.just("game"), st.just(QuestAcceptRequested(quest="morning-rounds"))),
    st.tuples(players, st.just("inventory"), st.just(ItemGranted(sku="grave-salt", quantity=1, reason="collected"))),
    st.tuples(players, st.just("game"), st.just(QuestAbandonRequested(quest="hounds-of-the-moor"))),
    st.tuples(
        players,
        st.just("player"),
        st.builds(lambda zone: PlayerEnteredZone(zone=zone), st.sampled_from(["quay", "fishmarket", "north-pass"])),
    ),
)
hunt: st.SearchStrategy[Wish] = st.tuples(players, st.just("game"), st.sampled_from([HOUNDS, REPORT]))
lives = st.lists(st.one_of(alone, hunt, hunt, deeds), min_size=5, max_size=30)
hunts = st.lists(st.one_of(together, hunt, hunt, hunt, alone, deeds), min_size=15, max_size=40)


async def _disturbed(world: World, wishes: Sequence[Wish]) -> None:
    random = world.random
    members = [Member(world, range(PARTITIONS))]
    for number, (player, by, message) in enumerate(wishes):
        world.log.publish(Draft(data=message, world=WORLD, entity=player, subsystem=by, id=f"in-{number}", time_ns=number))
        for member in members:
            for partition in member.partitions:
                member.read(partition, random.randrange(4))
        await world.turn(random.randrange(6))
        fate = random.random()
        if fate < world.trouble * 0.4:
            await members.pop(random.randrange(len(members))).die()
        elif fate < world.trouble * 0.8:
            members[0].sleep_over()
            members[0].partitions = []
        if len(members) < 2 or not any(member.partitions for member in members):
            members.append(Member(world, random.sample(range(PARTITIONS), random.randrange(1, PARTITIONS + 1))))
    for member in members:
        await world.turn(random.randrange(10))
        await member.die()


def _live(wishes: Sequence[Wish], seed: int, share: float) -> list[Event]:
    async def run() -> World:
        world = World(quest, seed, share)
        await _disturbed(world, wishes)
        await world.settle()
        return world

    return asyncio.run(run()).log.events


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives, st.integers(0, 2**32), st.sampled_from([0.0, 0.15, 0.3]))
def test_trouble_changes_nothing_of_what_is_said_about_a_player(wishes: list[Wish], seed: int, share: float) -> None:
    """One player's inputs lie in one partition, so their order is fixed: so must be every word of the answer."""
    log = _live(wishes, seed, share)

    town = Rehearsal(quest, world=WORLD)
    for number, (player, by, message) in enumerate(wishes):
        town.say(message, entity=player, subsystem=by, id=f"in-{number}", time_ns=number)
    for player in PLAYERS:
        wanted = [(event.id, event.data) for event in town.log if event.subsystem == "quest" and event.entity == player]
        assert wanted == [(event.id, event.data) for event in log if event.subsystem == "quest" and event.entity == player]


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hunts, st.integers(0, 2**32), st.sampled_from([0.0, 0.15, 0.3]))
def test_a_partys_reward_reaches_each_member_once_whatever_dies_or_sleeps(wishes: list[Wish], seed: int, share: float) -> None:
    formed: Wish = ("mira", "game", PartyFormed(party="pack", members=PLAYERS))
    log = [event for event in _live([formed, *wishes], seed, share) if event.subsystem == "quest"]

    completed = [event.data for event in log if event.entity == "pack" and isinstance(event.data, QuestCompleted)]
    shared = [event.data for event in log if isinstance(event.data, QuestRewarded) and event.data.party]
    assert Counter((member, it.run) for it in completed for member in it.members) == Counter((it.player, it.run) for it in shared)
    for player in PLAYERS:
        mine = [event.data for event in log if event.entity == player]
        runs = [it.run for it in mine if isinstance(it, QuestAccepted)]
        assert runs == list(range(1, len(runs) + 1))
        alone_ = [it.run for it in mine if isinstance(it, QuestCompleted) and not it.party]
        assert alone_ == [it.run for it in mine if isinstance(it, QuestRewarded) and not it.party]
