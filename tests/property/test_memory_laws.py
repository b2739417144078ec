"""What the store holds of characters' memories is what they have not forgotten, whatever happens to them."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bus.testing import Rehearsal
from handlers.npc_behavior.gist import MAX_GIST, MERGED_AT, MOST_EXTRACTS, MOST_GISTS, extract, gist
from handlers.npc_behavior.state import MOST_ABOUT_ONE, MOST_ON_SHELF, Memory, Npc
from projections.knowledge import memories
from projections.knowledge.lore import PASSAGES
from schemas.gen.worldbus.game.v1.game_pb2 import PlayerSpoke
from schemas.gen.worldbus.npc.v1 import npc_pb2 as said
from tests.duskmarket import npc
from tests.laws import examples
from tests.property.test_npc_laws import NPCS, TABLES, known, live, players, steps, texts

told = st.builds(lambda npc, text: PlayerSpoke(npc=npc, text=text), st.sampled_from(NPCS), texts)
tellings = st.tuples(st.just("game"), players, told)
lives = st.lists(st.one_of(tellings, tellings, tellings, steps), max_size=60)
recalled = st.builds(
    Memory,
    st.integers(1, 10**6),
    st.just("talk"),
    st.text(max_size=240),
    st.integers(1, 1000),
    st.integers(0, 10**12),
    st.integers(1, 10**6),
)


def store(town: Rehearsal) -> dict[str, set[int]]:
    """Numbers of the memories that count, by owner, as the projection would have them."""
    rows, strangers = dict[str, dict[str, Any]](), list[Any]()
    for event in town.log:
        when: Any = memories.ON.get(type(event.data))
        for change in (when(event, event.data) or ()) if when else ():
            if change.table is PASSAGES:
                rows.setdefault(change.key[1], {}).update(change.columns)
            elif change.table is memories.STRANGERS:
                strangers.append(change.key[1:])
    living: dict[str, set[int]] = {name: set() for name in TABLES.npcs}
    for name, row in rows.items():
        unknown = any((row["owner"], row["player"]) == (owner, player) and since > row["added"] for owner, player, since in strangers)
        if row.get("ended") is None and not unknown:
            living[row["owner"]].add(int(name.rpartition(":")[2]))
    return living


def held(state: Npc) -> set[int]:
    """Numbers of the memories that a character has, at hand or not."""
    numbers = {memory.number for memory in (*state.memories, *state.shelf)} | set(state.gists)
    for page in state.ties:
        for tie in page.values():
            numbers |= {memory.number for memory in (*tie.memories, *tie.shelf)} | set(tie.gists)
    return numbers


@given(lives)
@settings(deadline=None, max_examples=examples(40))
def test_the_store_holds_what_the_character_has_not_forgotten(wishes: list[Any]) -> None:
    town = live(wishes)

    assert store(town) == {state.entity: held(state) for state in known(town)}


@given(st.integers(0, 3 * MERGED_AT * MOST_GISTS // 2), st.integers(0, 9))
@settings(deadline=None, max_examples=examples(15))
def test_however_much_is_told_what_is_kept_has_its_bounds(many: int, others: int) -> None:
    town = Rehearsal(npc)
    for number in range(many):
        town.say(PlayerSpoke(npc="pockets", text=f"word {number}"), entity="mira" if number % 10 >= others else f"p{number}")
    state = town.state(npc, "pockets")

    assert store(town)["pockets"] == held(state)
    for page in state.ties:
        for tie in page.values():
            assert len(tie.memories) <= MOST_ABOUT_ONE
            assert len(tie.shelf) < MERGED_AT
            assert len(tie.gists) <= MOST_GISTS


@given(lives)
@settings(deadline=None, max_examples=examples(40))
def test_a_memory_goes_into_one_gist_at_most_and_only_when_it_is_not_at_hand(wishes: list[Any]) -> None:
    town, put_by, merged = live(wishes), set[tuple[str, int]](), list[tuple[str, int]]()
    for event in town.log:
        if isinstance(event.data, said.NpcRemembered):
            put_by |= {(event.entity, number) for number in event.data.crowded_out}
        if isinstance(event.data, said.NpcMemoriesMerged):
            its = [(event.entity, number) for number in event.data.numbers]
            assert set(its) <= put_by
            assert len(its) >= MERGED_AT
            merged += its
            assert 1 <= event.data.salience <= 1000
            assert event.data.from_world_ms <= event.data.world_ms

    assert len(merged) == len(set(merged))


@given(st.lists(recalled, min_size=1, max_size=MOST_ON_SHELF, unique_by=lambda memory: memory.number))
def test_a_gist_is_made_of_the_memories_own_words_and_short(several: list[Memory]) -> None:
    text = gist(several)

    assert len(text) <= MAX_GIST
    beginnings = {extract(memory.text) for memory in several}
    assert text == gist(list(reversed(several))), "the order in which they are given does not matter"
    if len(beginnings) <= MOST_EXTRACTS:
        assert all(beginning[:40] in text for beginning in beginnings)
