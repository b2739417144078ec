"""The rules of shared quests: the party holds the run, its members carry it on, each of them is paid."""

from __future__ import annotations

import copy
from typing import Any

from bus.testing import Rehearsal
from handlers.quest_system import quest_system
from handlers.quest_system.tables import parse
from handlers.time_manager import calendar as calendars
from schemas.gen.worldbus.game.v1.game_pb2 import CreatureSlain, NpcAttacked, PartyFormed, PartyLeft, PlayerSpoke
from schemas.gen.worldbus.quest.v1.quest_pb2 import (
    QuestAbandoned,
    QuestAbandonRequested,
    QuestAccepted,
    QuestAcceptRequested,
    QuestChoiceRequested,
    QuestCompleted,
    QuestFailed,
    QuestPartyDeparted,
    QuestPartyGathered,
    QuestPartyJoined,
    QuestProgressed,
    QuestRequestRefused,
    QuestRewarded,
    QuestStageBegan,
    SharedProgressReported,
    SharedQuestClosed,
    SharedQuestFollowed,
    SharedQuestReleased,
)
from schemas.gen.worldbus.request.v1.request_pb2 import RequestFoundDone
from schemas.gen.worldbus.time.v1.time_pb2 import WakeFired, WakeRequested
from tests.duskmarket import FOLDER

TABLE: dict[str, Any] = {
    "quests": {
        "hunt": {
            "title": "Hunt",
            "shared": True,
            "repeat": "always",
            "limit_minutes": 60,
            "first": "kill",
            "stages": [
                {
                    "name": "kill",
                    "objectives": [{"name": "wolves", "kind": "kill", "target": "wolf", "count": 3}],
                    "forbids": [{"kind": "attack", "target": "pell"}],
                    "next": "choose",
                },
                {
                    "name": "choose",
                    "choices": [{"name": "tell", "text": "", "next": "told"}, {"name": "hush", "text": "", "next": "hushed"}],
                },
            ],
            "endings": {"told": {"currency": "crowns", "amount_minor": 10}, "hushed": {"currency": "teeth", "amount_minor": 5}},
        },
        "alone": {
            "title": "Alone",
            "first": "talk",
            "stages": [{"name": "talk", "objectives": [{"name": "talk", "kind": "talk", "target": "pell"}], "next": "done"}],
            "endings": {"done": {}},
        },
    }
}
CALENDAR = calendars.load(FOLDER / "calendar.toml")
quest = quest_system(parse(TABLE, "test"), CALENDAR)
WOLF = CreatureSlain(creature="wolf")


def party(*members: str) -> Rehearsal:
    town = Rehearsal(quest)
    town.say(PartyFormed(party="pack", members=members), entity=members[0])
    return town


def hunting(*members: str) -> Rehearsal:
    town = party(*members)
    town.say(QuestAcceptRequested(quest="hunt", party="pack"), entity=members[0])
    return town


def types(said: tuple[Any, ...]) -> list[str]:
    return [type(message).__name__ for message in said]


def refusal(said: tuple[Any, ...]) -> str:
    (code,) = [message.code for message in said if isinstance(message, QuestRequestRefused)]
    return str(code)


def test_a_party_gathers_its_members() -> None:
    town = party("mira", "ben")

    assert town.said(QuestPartyJoined) == (QuestPartyJoined(party="pack"),) * 2
    assert town.said(QuestPartyGathered, entity="pack")[-1] == QuestPartyGathered(members=["mira", "ben"])
    (again,) = town.say(PartyFormed(party="pack", members=["mira", "ben"]), entity="mira")
    assert isinstance(again, RequestFoundDone)


def test_the_party_holds_the_run_and_its_members_follow_it() -> None:
    town = hunting("mira", "ben")

    (accepted,) = town.said(QuestAccepted)
    assert list(accepted.members) == ["mira", "ben"]
    followed = SharedQuestFollowed(party="pack", quest="hunt", run=1)
    assert town.said(SharedQuestFollowed, entity="mira") == town.said(SharedQuestFollowed, entity="ben") == (followed,)
    assert town.said(WakeRequested, entity="pack") == (WakeRequested(name="limit-1", in_world_ms=3_600_000),)


def test_deeds_of_all_members_count_together_and_each_is_paid() -> None:
    town = hunting("mira", "ben")
    town.say(CreatureSlain(creature="wolf", quantity=2), entity="mira")
    town.say(WOLF, entity="ben")
    assert [(it.player, it.count) for it in town.said(QuestProgressed, entity="pack")] == [("mira", 2), ("ben", 3)]

    town.say(QuestChoiceRequested(quest="hunt", choice="tell", party="pack"), entity="ben")

    paid: dict[str, Any] = {"quest": "hunt", "run": 1, "ending": "told", "currency": "crowns", "amount_minor": 10, "party": "pack"}
    assert town.said(QuestRewarded) == (QuestRewarded(player="mira", **paid), QuestRewarded(player="ben", **paid))
    assert town.said(QuestCompleted, entity="pack") == (QuestCompleted(quest="hunt", run=1, ending="told", members=["mira", "ben"]),)
    assert town.state(quest, "ben").follows == ()


def test_a_quest_that_pays_once_pays_a_member_once() -> None:
    once = copy.deepcopy(TABLE)
    once["quests"]["hunt"]["repeat"] = "once"
    town = Rehearsal(quest_system(parse(once, "test"), CALENDAR))
    for party_, proposer in (("", "mira"), ("pack", "ben")):
        town.say(PartyFormed(party="pack", members=["mira", "ben"]), entity="mira")
        town.say(QuestAcceptRequested(quest="hunt", party=party_), entity=proposer)
        town.say(CreatureSlain(creature="wolf", quantity=3), entity="mira")
        town.say(QuestChoiceRequested(quest="hunt", choice="tell", party=party_), entity="mira")

    assert [(it.player, it.party) for it in town.said(QuestRewarded)] == [("mira", ""), ("ben", "pack")]
    assert len(town.said(QuestCompleted, entity="mira")) == 2


def test_deeds_that_no_shared_quest_wants_stay_with_the_player() -> None:
    town = hunting("mira", "ben")

    assert town.say(PlayerSpoke(npc="pell"), entity="mira") == ()
    assert town.say(WOLF, entity="stranger") == ()


def test_what_a_member_must_not_do_fails_it_for_all() -> None:
    town = hunting("mira", "ben")
    said = town.say(NpcAttacked(npc="pell"), entity="ben")

    assert QuestFailed(quest="hunt", run=1, cause="forbidden", stage="kill") in said
    assert SharedQuestClosed(quest="hunt", run=1, members=["mira", "ben"]) in said
    assert said.count(SharedQuestReleased(party="pack", quest="hunt", run=1)) == 2
    assert town.say(WOLF, entity="mira") == ()


def test_time_fails_it_for_all() -> None:
    town = hunting("mira", "ben")
    said = town.say(WakeFired(subsystem="quest", entity="pack", name="limit-1"), entity="clock", subsystem="time")

    assert "QuestFailed" in types(said)
    assert said.count(SharedQuestReleased(party="pack", quest="hunt", run=1)) == 2


def test_a_member_gives_it_up_for_all() -> None:
    town = hunting("mira", "ben")
    said = town.say(QuestAbandonRequested(quest="hunt", party="pack"), entity="ben")

    assert QuestAbandoned(quest="hunt", run=1, player="ben") in said
    assert town.said(QuestRewarded) == ()


def test_who_comes_later_joins_what_is_under_way() -> None:
    town = hunting("mira", "ben")
    town.say(PartyFormed(party="pack", members=["mira", "ben", "cara"]), entity="mira")

    assert town.said(SharedQuestFollowed, entity="cara") == (SharedQuestFollowed(party="pack", quest="hunt", run=1),)
    assert SharedProgressReported in map(type, town.say(WOLF, entity="cara"))


def test_who_left_is_neither_heard_nor_paid() -> None:
    town = hunting("mira", "ben")
    town.say(PartyLeft(party="pack"), entity="ben")
    assert town.said(QuestPartyGathered, entity="pack")[-1].members == ["mira"]
    assert town.say(WOLF, entity="ben") == ()

    town.say(CreatureSlain(creature="wolf", quantity=3), entity="mira")
    town.say(QuestChoiceRequested(quest="hunt", choice="hush", party="pack"), entity="mira")

    assert [it.player for it in town.said(QuestRewarded)] == ["mira"]


def test_when_the_last_one_left_the_quest_is_given_up() -> None:
    town = hunting("mira")
    said = town.say(PartyLeft(party="pack"), entity="mira")

    assert "QuestAbandoned" in types(said)
    assert town.state(quest, "pack").active == ()
    assert town.state(quest, "pack").members == ()


def test_a_player_is_of_one_party_at_a_time() -> None:
    town = hunting("mira", "ben")
    said = town.say(PartyFormed(party="other", members=["ben", "cara"]), entity="cara")

    assert QuestPartyDeparted(party="pack") in said
    assert town.state(quest, "pack").members == ("mira",)
    assert town.state(quest, "other").members == ("ben", "cara")


def test_a_quest_that_is_not_shared_or_not_ones_own_party_is_refused() -> None:
    town = hunting("mira", "ben")

    assert refusal(town.say(QuestAcceptRequested(quest="alone", party="pack"), entity="mira")) == "NOT_SHARED"
    assert refusal(town.say(QuestAcceptRequested(quest="hunt", party="other"), entity="mira")) == "NOT_A_MEMBER"
    assert refusal(town.say(QuestAcceptRequested(quest="hunt", party="pack"), entity="ben")) == "ALREADY_ACTIVE"
    assert refusal(town.say(QuestChoiceRequested(quest="hunt", choice="tell", party="pack"), entity="cara")) == "NOT_A_MEMBER"
    assert refusal(town.say(QuestAbandonRequested(quest="hunt", party="pack"), entity="cara")) == "NOT_A_MEMBER"


def test_a_shared_quest_can_also_be_done_alone() -> None:
    town = party("mira", "ben")
    said = town.say(QuestAcceptRequested(quest="hunt"), entity="mira")

    assert types(said) == [QuestAccepted.__name__, WakeRequested.__name__, QuestStageBegan.__name__]


def test_a_party_has_at_most_eight_members() -> None:
    town = party(*(f"p{number}" for number in range(8)))
    said = town.say(PartyFormed(party="pack", members=["p8"]), entity="p8")

    assert refusal(said) == "TOO_MANY"
    assert len(town.state(quest, "pack").members) == 8


def test_nobody_but_the_members_own_quests_speaks_for_them() -> None:
    """An edge may publish these types; the party hears them only from the subsystem that owns them."""
    town = hunting("mira", "ben")
    forged = SharedProgressReported(party="pack", quest="hunt", run=1, kind="kill", target="wolf", quantity=3)

    assert town.say(forged, entity="mira") == ()
    assert town.say(QuestCompleted(quest="hunt", run=1, ending="told", members=["mira"]), entity="pack") == ()
