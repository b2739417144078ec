"""What is read as a name or as a date in prose."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.time_manager.calendar import load
from tests.duskmarket import FOLDER
from worldbus.lore_check.dates import wrong_dates
from worldbus.lore_check.names import Names, written_small

CALENDAR = load(FOLDER / "calendar.toml")
NAMES = Names(["Old Marrow", "Marrow", "Paupers' Field", "Chapel of Saint Wenna", "Saint Wenna"])
CANON: dict[str, Any] = {
    "years": [{"before": 340, "name": "the Lantern Accord"}, {"before": 22, "name": "the Lamp Riot"}],
    "feasts": [{"name": "the Tooth Fair", "season": "winter", "day_of_season": 7}],
}


def unknown(text: str) -> list[str]:
    return [word for _, word in NAMES.unknown(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Nobody saw Old Marrow.",
        "It was Marrow's herring, and Marrow\u2019s joke.",
        "They dig in Paupers' Field by night.",
        "People of the Chapel of Saint Wenna sing. Saint Wenna listens.",
        "Nothing else. Fish, said the man. 'Fresh,' he said: \"Look at it.\"",
        "What I carry I do not open, and I'll say so.",
        "",
    ],
)
def test_known_names_and_beginnings_of_sentences_pass(text: str) -> None:
    assert unknown(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Nobody saw Barrow.", ["Barrow"]),
        ("Old Barrow sells.", ["Barrow"]),
        ("They dig in Paupers Row.", ["Paupers", "Row"]),
        ("the Chapel of Saint Orrin", ["Chapel", "Saint", "Orrin"]),
        ("He said, Doctor Grim, come in.", ["Doctor", "Grim"]),
    ],
)
def test_other_names_are_found(text: str, found: list[str]) -> None:
    assert unknown(text) == found


SMALL = written_small(["People said that mothers, lately, sold old boats."])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Boats sold it. People sold it. Lately Marrow sold it.", []),
        ("Marrov sold it.", ["Marrov"]),
        ("Nobody knows. Paupars sold it.", ["Paupars"]),
        ("Mister Marrow sold it.", ["Mister"]),
        ("Mother sold it to Marrow.", []),
    ],
)
def test_a_sentence_may_not_begin_with_a_misspelt_name(text: str, found: list[str]) -> None:
    assert [word for _, word in NAMES.unknown(text, SMALL)] == found


@given(before=st.text(alphabet="abc ,;", max_size=20), after=st.text(alphabet="abc ,;.'", max_size=20))
def test_a_strange_name_is_found_wherever_it_stands_inside_of_a_sentence(before: str, after: str) -> None:
    text = f"x{before} Zorro {after}"

    assert [at for at, word in NAMES.unknown(text) if word.startswith("Zorro")] == [text.index("Zorro")]


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    found = list(NAMES.unknown(text))

    assert all(text[at : at + 1] == word[:1] for at, word in found if word[:1].isalpha())
    assert list(wrong_dates(text, CALENDAR, CANON)) == list(wrong_dates(text, CALENDAR, CANON))


@pytest.mark.parametrize(
    "text",
    [
        "The Lantern Accord is of the year 340 before the Count.",
        "Since the Lamp Riot, in the year 22 before the Count, and since the Lantern Accord, wardens pay.",
        "From 340 to 22 before the Count.",
        "The Tooth Fair is on the 7th of winter.",
        "On the 1st, 2nd or 28th of spring, and on the 11th of autumn.",
    ],
)
def test_right_dates_pass(text: str) -> None:
    assert list(wrong_dates(text, CALENDAR, CANON)) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("In the year 341 before the Count.", "not in the canon"),
        ("In the\nyear 341 before\nthe Count.", "not in the canon"),
        ("The 23rd before the Count.", "not in the canon"),
        ("From 341 to 22 before the Count.", "not in the canon"),
        ("The Lamp Riot of the year 340 before the Count.", "not that of the Lamp Riot"),
        ("On the 29th of spring.", "days 1 to 28"),
        ("On the 0th of spring.", "days 1 to 28"),
        ("On the 3th of spring.", "wanted 3rd"),
        ("On the 9th and 31st of spring.", "days 1 to 28"),
        ("The Tooth Fair is on the 8th of winter.", "the Tooth Fair is on 7 of winter"),
    ],
)
def test_wrong_dates_are_found(text: str, what: str) -> None:
    found = [said for _, said in wrong_dates(text, CALENDAR, CANON)]

    assert any(what in said for said in found), found
