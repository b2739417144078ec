"""Laws of subjects: nothing outside the alphabet gets in, what gets in comes back, a filter matches what it names."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bus.check import check_stored
from bus.errors import BadSubject
from bus.reader import Choice, widest
from bus.subjects import Subject, check_signal, check_token, lane_filter, parse_stored, partition_of, stored_filter, wire_subject

TOKENS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
ALLOWED = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


@given(st.text(max_size=80))
@example("a\n")
@example("\uff41")
@example("٣")
def test_a_token_is_taken_only_if_every_character_is_allowed(text: str) -> None:
    if 1 <= len(text) <= 64 and set(text) <= ALLOWED:
        assert text == check_token(text)
    else:
        with pytest.raises(BadSubject):
            check_token(text)


@given(st.tuples(TOKENS, TOKENS, TOKENS, TOKENS), st.integers(0, 4096))
def test_what_is_published_is_read_back_from_what_is_stored(tokens: tuple[str, str, str, str], partition: int) -> None:
    subject = Subject(*tokens)
    published = subject.published()
    stored = published.replace("evt.", f"evt.{partition}.", 1)

    assert (partition, subject) == parse_stored(stored)
    assert published == check_stored(stored) == check_stored(published) == wire_subject(*tokens).decode()
    assert len(stored.encode()) <= 4 + 4 + 4 * 65


@given(st.text(max_size=60))
def test_any_text_is_a_stored_subject_or_refused(text: str) -> None:
    for read in (parse_stored, check_stored, check_signal):
        try:
            read(text)
        except BadSubject:
            continue


def matches(pattern: str, subject: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", r"[^.]+").replace(">", ".+"), subject) is not None


@given(st.tuples(TOKENS, TOKENS, TOKENS, TOKENS), st.lists(st.booleans(), min_size=5, max_size=5), st.integers(0, 7))
def test_a_filter_matches_the_events_it_names_and_no_others(tokens: tuple[str, str, str, str], given_: list[bool], partition: int) -> None:
    names = ("world", "subsystem", "entity", "name")
    wanted = {name: token for name, token, used in zip(names, tokens, given_, strict=False) if used}
    pattern = stored_filter(partition=partition if given_[4] else None, **wanted)  # type: ignore[arg-type] - names of str parameters
    stored = f"evt.{partition}.{'.'.join(tokens)}"

    assert matches(pattern, stored)
    for index in range(4):
        other = list(tokens)
        other[index] += "x"
        assert matches(pattern, f"evt.{partition}.{'.'.join(other)}") == (not given_[index])


@given(TOKENS, TOKENS, TOKENS, st.integers(1, 64))
def test_a_lane_covers_what_one_subsystem_says_of_one_entity(world: str, subsystem: str, entity: str, partitions: int) -> None:
    partition = partition_of(world, entity, partitions)
    fence = lane_filter(partition, world, subsystem, entity)

    assert 0 <= partition < partitions
    assert matches(fence, f"evt.{partition}.{world}.{subsystem}.{entity}.Anything")
    assert not matches(fence, f"evt.{partition}.{world}.{subsystem}.{entity}x.Anything")


FILTERS = st.lists(st.sampled_from(["*", "a", "b"]), min_size=5, max_size=5).map(lambda tokens: ".".join(["evt", *tokens])) | st.just(
    "evt.>"
)


@given(st.lists(FILTERS, min_size=1, max_size=4), st.lists(st.sampled_from(["a", "b", "c"]), min_size=5, max_size=5))
def test_several_filters_choose_what_any_of_them_matches(filters: list[str], tokens: list[str]) -> None:
    """The one filter that the server gets lets all of it through; the rest is skipped here."""
    subject = ".".join(["evt", *tokens])
    wanted = any(matches(one, subject) for one in filters)
    through = widest(filters)

    assert wanted == Choice(filters).wants(subject.encode())
    assert not wanted or matches(through, subject)
    assert filters[0] == widest(filters[:1])
