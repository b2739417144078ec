"""The corpus: recorded events that every later version must read as they were: `python -m schemas.record [--check]`.

`schemas/corpus/<package>.jsonl` has one event per line: its type, its bytes in base64, and what they meant, in protobuf's JSON form. Lines
are only ever added. Every event type has at least one, and every field is set in at least one of them; running the module adds the missing.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from schemas.errors import BadCorpus, UnknownMessage
from schemas.examples import example
from schemas.registry import all_events, message_class
from schemas.upcast import upcast

CORPUS: Final = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One event as it was once written: full type name, bytes, and their meaning in protobuf-JSON."""

    type: str
    raw: bytes
    meaning: dict[str, Any]

    @classmethod
    def of(cls, message: Message) -> Recorded:
        return cls(type=message.DESCRIPTOR.full_name, raw=message.SerializeToString(deterministic=True), meaning=MessageToDict(message))

    @classmethod
    def parse(cls, line: str) -> Recorded:
        fields = json.loads(line)
        return cls(type=fields["type"], raw=base64.b64decode(fields["bytes"], validate=True), meaning=fields["json"])

    def line(self) -> str:
        fields = {"type": self.type, "bytes": base64.b64encode(self.raw).decode(), "json": self.meaning}
        return json.dumps(fields, ensure_ascii=False, sort_keys=True)

    def read(self) -> Message:
        """The message today's code reads. Raises `BadCorpus` when it is not what was recorded, or can no longer be upcast."""
        try:
            message = message_class(self.type).FromString(self.raw)
        except (UnknownMessage, DecodeError) as error:
            raise BadCorpus(f"a recorded {self.type} cannot be read any more ({error}): put its type back as it was") from error
        if (found := MessageToDict(message)) != self.meaning:
            wanted, other = _apart(self.meaning, found)
            raise BadCorpus(f"a recorded {self.type} changed its meaning: wanted {wanted}, found {other}: put its type back as it was")
        upcast(self.type, message)
        return message


def _apart(wanted: dict[str, Any], found: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both without what they agree on."""
    differ = {key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)}
    return {key: wanted[key] for key in wanted if key in differ}, {key: found[key] for key in found if key in differ}


def load(folder: Path = CORPUS) -> list[Recorded]:
    """Every recorded event, by file and line."""
    return [Recorded.parse(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def gaps(cls: type[Message], recorded: Iterable[Recorded]) -> list[str]:
    """The fields of `cls` that no recorded event of this type sets; `["(no event)"]` where there is none at all."""
    events = [cls.FromString(entry.raw) for entry in recorded if entry.type == cls.DESCRIPTOR.full_name]
    seen = {field.name for event in events for field, _ in event.ListFields()}
    return [field.name for field in cls.DESCRIPTOR.fields if field.name not in seen] if events else ["(no event)"]


def missing(recorded: Iterable[Recorded]) -> Iterator[Recorded]:
    """Made-up events that close all gaps, in the order of their types."""
    held = list(recorded)
    for cls in all_events():
        while prefer := gaps(cls, held):
            held.append(Recorded.of(example(cls, prefer=prefer)))
            yield held[-1]


def add(entries: Iterable[Recorded], folder: Path = CORPUS) -> int:
    """Append events that the corpus does not hold yet; returns how many those were."""
    known = {(entry.type, entry.raw) for entry in load(folder)}
    count = 0
    folder.mkdir(exist_ok=True)
    for entry in entries:
        if (entry.type, entry.raw) not in known:
            known.add((entry.type, entry.raw))
            with (folder / f"{entry.type.rpartition('.')[0]}.jsonl").open("a") as file:
                file.write(entry.line() + "\n")
            count += 1
    return count


def forget(folder: Path = CORPUS) -> int:
    """Remove the events that no longer read as recorded; returns how many. Only while no log exists that may hold them."""
    count = 0
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if _reads(Recorded.parse(line))]
        count += len(lines) - len(kept)
        path.write_text("".join(kept))
        if not kept:
            path.unlink()
    return count


def _reads(entry: Recorded) -> bool:
    try:
        entry.read()
    except BadCorpus:
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m schemas.record", description="Add an example of every new event type and field to the corpus."
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail when an example is missing or no longer reads as recorded"
    )
    parser.add_argument(
        "--before-first-release", action="store_true", help="throw away what no longer reads as recorded; no log exists yet"
    )
    options = parser.parse_args(arguments)
    if options.before_first_release:
        print(f"corpus: {forget()} events thrown away")
    recorded = load()
    try:
        for entry in recorded:
            entry.read()
    except BadCorpus as error:
        print(error, file=sys.stderr)
        return 1
    wanted = list(missing(recorded))
    if options.check and wanted:
        print(
            "wanted a recorded example of every field, found none for:",
            *sorted({f"  {one.type}" for one in wanted}),
            sep="\n",
            file=sys.stderr,
        )
        print("run `python -m schemas.record` and commit schemas/corpus", file=sys.stderr)
        return 1
    print(f"corpus: {len(recorded)} events read as recorded, {add(wanted)} added")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
