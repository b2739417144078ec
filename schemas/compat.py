"""Refuse changes that would make recorded events unreadable: `python -m schemas.compat [--accept [--before-first-release]]` for ours,
`worldbus proto` for those of a game.

Additions pass. Whatever was released stays: messages, fields and enum values with their names, numbers, JSON names, types and labels;
reserved numbers and names; the lines of the corpus. A type that must change gets a new package version and an upcast (`schemas/upcast.py`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from schemas.errors import BadCorpus, BrokenPromise, SchemaError
from schemas.generate import descriptors, own
from schemas.layout import OURS, Layout
from schemas.places import place_of, places
from schemas.record import Types, declared, known, load
from schemas.released import Facts, Promises, corpus_promises, digest, parse, promises, render

Range = tuple[int, int]
MEANS = {
    "name": "the name",
    "json": "the JSON name",
    "type": "the type",
    "label": "the label",
    "oneof": "the oneof",
    "packed": "the packing",
    "kind": "the kind",
}


def breaks(old: Promises, new: Promises) -> list[str]:
    """Every broken promise in a line of its own, sorted by name; additions are none."""
    found: list[str] = []
    for key in sorted(key for key in old if not key.startswith("corpus/")):
        if key not in new:
            found += _removed(key, old, new)
        else:
            found += [f"{_called(key, old)}: {line}" for line in _changed(old[key], new[key])]
            found += [f"{key}: {line}" for line in _unreserved(key, old[key], new)]
    return found


def _called(key: str, known: Promises) -> str:
    owner, _, number = key.partition("#")
    return f"{owner}.{known[key]['name']} (number {number})" if number else key


def _removed(key: str, old: Promises, new: Promises) -> Iterator[str]:
    owner, _, number = key.partition("#")
    if not number:
        moved = [name for name in new if name.rpartition(".")[2] == key.rpartition(".")[2] and name not in old and "#" not in name]
        yield f"{key}: removed" + (f"; {moved[0]} looks the same, but recorded events name the old one" if moved else "")
    elif owner in new:  # otherwise the removal of the owner says it all
        again = [name.rpartition("#")[2] for name in new if name.startswith(f"{owner}#") and new[name]["name"] == old[key]["name"]]
        yield f"{_called(key, old)}: " + (f"the number changed to {again[0]}" if again else "removed")


def _changed(old: Facts, new: Facts) -> Iterator[str]:
    for fact, words in MEANS.items():
        if old.get(fact) != new.get(fact):
            yield f"{words} changed from {old.get(fact, 'none')} to {new.get(fact, 'none')}"


def _ranges(facts: Facts) -> list[Range]:
    pairs = (one.split("..") for one in facts.get("reserved", "").split(",") if one)
    return [(int(first), int(last)) for first, last in pairs]


def _covered(wanted: Range, held: list[Range]) -> bool:
    first, last = wanted
    for start, end in sorted(held):
        if start <= first <= end:
            first = end + 1
    return first > last


def _unreserved(key: str, old: Facts, new: Promises) -> Iterator[str]:
    held = _ranges(new[key])
    for first, last in _ranges(old):
        if not _covered((first, last), held):
            yield f"number {first} is no longer reserved" if first == last else f"numbers {first} to {last} are no longer all reserved"
        used = [name for name in new if name.startswith(f"{key}#") and first <= int(name.rpartition("#")[2]) <= last]
        yield from (f"{new[name]['name']} uses the reserved number {name.rpartition('#')[2]} again" for name in used)
    names = set(new[key].get("reserved_names", "").split(","))
    for name in filter(None, old.get("reserved_names", "").split(",")):
        if name not in names:
            yield f"name {name} is no longer reserved"


def _placed(lines: list[str], known: Mapping[str, str]) -> list[str]:
    """The lines behind the file and line where what they speak of is declared, or was."""
    found = ((place_of(line.partition(":")[0].partition(" ")[0], known), line) for line in lines)
    return [f"{place}: {line}" if place else line for place, line in found]


def corpus_breaks(old: Promises, folder: Path = OURS.corpus, types: Types | None = None) -> list[str]:
    """Recorded events that were changed or removed, or that no longer read as recorded."""
    found: list[str] = []
    for key, facts in old.items():
        if key.startswith("corpus/"):
            path, count = folder / key.removeprefix("corpus/"), int(facts["lines"])
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            if digest(lines[:count]) != facts["sha256"]:
                found.append(f"{key}: the first {count} lines changed; lines are only ever added at the end")
    for entry in load(folder):
        try:
            entry.read(types)
        except BadCorpus as error:
            found.append(str(error))
    return found


def compare(layout: Layout = OURS, *, accept: bool = False, before_first_release: bool = False) -> str:
    """Hold a repository's sources against what was released; returns what was found, in words. Raises `BrokenPromise` with all that breaks.

    `accept` takes today's additions into its promises, and with `before_first_release` what breaks them as well.
    """
    described = descriptors(layout)
    ours = own(described, layout)
    current = promises(ours)
    old = parse(layout.released.read_text(encoding="utf-8")) if layout.released.exists() else {}
    types = declared(described, layout) if layout.of_a_game else known()
    found = [*_placed(breaks(old, current), places(ours, layout)), *corpus_breaks(old, layout.corpus, types)]
    if found and not before_first_release:
        raise BrokenPromise(
            "\n".join(
                (
                    "these changes break events that are already recorded:",
                    *(f"  {line}" for line in found),
                    "put them back, or declare a new package version and an upcast (docs/reference/schemas.md)",
                )
            )
        )
    added = len(current.keys() - old.keys())
    if not accept:
        return f"schemas: {len(old)} promises kept, {added} additions"
    layout.released.write_text(render({**current, **corpus_promises(layout.corpus)}), encoding="utf-8")
    return f"{layout.shown(layout.released)}: {len(current)} promises, {added} new, {len(found)} broken"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m schemas.compat", description="Compare the .proto sources with what was released.")
    parser.add_argument("--accept", action="store_true", help="take today's additions into schemas/released.txt")
    parser.add_argument("--before-first-release", action="store_true", help="with --accept: take breaking changes too; no log exists yet")
    options = parser.parse_args(arguments)
    try:
        print(compare(accept=options.accept, before_first_release=options.accept and options.before_first_release))
    except SchemaError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
