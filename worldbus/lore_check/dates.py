"""Checks of years and days in a text against the canon and the calendar."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from handlers.time_manager.calendar import Calendar

_SENTENCE: Final = re.compile(r"[^.!?]+(?:[.!?]|\Z)")
_YEARS: Final = (
    re.compile(r"\byears? (\d+)\b(?= before the Count)"),
    re.compile(r"\b(\d+)(?:st|nd|rd|th) before the Count"),
    re.compile(r"\b(\d+) before the Count"),
    re.compile(r"\b(\d+) (?:to|and) \d+ before the Count"),
)
_DAY: Final = re.compile(r"\b(\d+)(st|nd|rd|th)(?: and (\d+)(st|nd|rd|th))? of ([a-z]+)")
_SUFFIX: Final = {1: "st", 2: "nd", 3: "rd"}


def wrong_dates(text: str, calendar: Calendar, canon: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """The faults in the dates of a text, with their places there.

    A sentence that names an event of the canon and one year names the year of an event in it.
    """
    text = re.sub(r"\s", " ", text)  # a date may stand in two lines
    named = {entry["before"] for entry in canon["years"]}
    for sentence in _SENTENCE.finditer(text):
        years = {int(found[1]) for pattern in _YEARS for found in pattern.finditer(sentence[0])}
        told = {entry["name"]: entry["before"] for entry in canon["years"] if entry["name"].removeprefix("the ") in sentence[0]}
        for year in sorted(years):
            if year not in named:
                yield sentence.start(), f"the year {year} before the Count is not in the canon"
            elif told and year not in told.values() and len(years) <= len(told):
                yield sentence.start(), f"the year {year} before the Count is not that of {' or '.join(told)}"
        yield from ((sentence.start() + at, what) for at, what in _wrong_days(sentence[0], calendar, canon))


def _wrong_days(sentence: str, calendar: Calendar, canon: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    seasons = {season.name: season.days for season in calendar.seasons}
    for found in _DAY.finditer(sentence):
        season = found[5]
        if season not in seasons:
            continue
        for number, suffix in ((found[1], found[2]), (found[3], found[4])):
            if number is not None and not (1 <= int(number) <= seasons[season]):
                yield found.start(), f"{season} has the days 1 to {seasons[season]}, found {number}"
            if number is not None and suffix != _suffix(int(number)):
                yield found.start(), f"wanted {number}{_suffix(int(number))}, found {number}{suffix}"
        feasts = [entry for entry in canon["feasts"] if entry["name"].removeprefix("the ") in sentence]
        if feasts and all((entry["season"], entry["day_of_season"]) != (season, int(found[1])) for entry in feasts):
            yield found.start(), f"{feasts[0]['name']} is on {feasts[0]['day_of_season']} of {feasts[0]['season']}, found {found[0]}"


def _suffix(number: int) -> str:
    return "th" if number % 100 in (11, 12, 13) else _SUFFIX.get(number % 10, "th")
