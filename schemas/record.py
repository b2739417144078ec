"""The corpus: recorded events that every later version must read as they were: `python -m schemas.record [--check]` for ours,
`worldbus proto` for those of a game.

`corpus/<package>.jsonl` has one event per line: its type, its bytes in base64, and what they meant, in protobuf's JSON form. Lines
are only ever added. Every event type has at least one, and every field is set in at least one of them; recording adds the missing.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from schemas.errors import BadCorpus, Behind, SchemaError, UnknownMessage
from schemas.examples import example
from schemas.generate import descriptors, own
from schemas.layout import OURS, Layout
from schemas.registry import all_events, is_event, message_class
from schemas.upcast import upcast

CORPUS: Final = OURS.corpus


class Types(NamedTuple):
    """The event types of a repository: a look-up by full name, which raises `UnknownMessage`, and all of them by name.

    upcast  full name, message -> its newest form
    """

    find: Callable[[str], type[Message]]
    events: Sequence[type[Message]]
    upcast: Callable[[str, Message], Message]


def known() -> Types:
    """The types that are registered."""
    return Types(message_class, all_events(), upcast)


def declared(described: FileDescriptorSet, layout: Layout) -> Types:
    """The types that a repository's sources declare, whose generated code need not be there, nor be importable.

    Its upcasts are code of the game, so they are tried where the game is (`Recorded.read`), and not here.
    """
    pool = DescriptorPool()
    for file in described.file:
        pool.Add(file)
    names = [f"{file.package}.{message.name}" for file in own(described, layout).file for message in file.message_type]
    classes = {name: GetMessageClass(pool.FindMessageTypeByName(name)) for name in sorted(names)}

    def find(name: str) -> type[Message]:
        if name not in classes:
            raise UnknownMessage(name)
        return classes[name]

    return Types(find, [cls for cls in classes.values() if is_event(cls.DESCRIPTOR)], lambda _name, message: message)


def types_of(layout: Layout) -> Types:
    """The event types of a repository, by its sources."""
    return declared(descriptors(layout), layout) if layout.of_a_game else known()


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

    def read(self, types: Types | None = None) -> Message:
        """The message that these types read, by default the registered ones. Raises `BadCorpus` when it is not what was recorded, or can no
        longer be upcast."""
        types = types or known()
        try:
            message = types.find(self.type).FromString(self.raw)
        except (UnknownMessage, DecodeError) as error:
            raise BadCorpus(f"a recorded {self.type} cannot be read any more ({error}): put its type back as it was") from error
        if (found := MessageToDict(message)) != self.meaning:
            wanted, other = _apart(self.meaning, found)
            raise BadCorpus(f"a recorded {self.type} changed its meaning: wanted {wanted}, found {other}: put its type back as it was")
        types.upcast(self.type, message)
        return message


def _apart(wanted: dict[str, Any], found: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both without what they agree on."""
    differ = {key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)}
    return {key: wanted[key] for key in wanted if key in differ}, {key: found[key] for key in found if key in differ}


def load(folder: Path = CORPUS) -> list[Recorded]:
    """Every recorded event, by file and line. Raises `BadCorpus` for a line that is none."""
    return [
        _parsed(line, path, number)
        for path in sorted(folder.glob("*.jsonl"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    ]


def _parsed(line: str, path: Path, number: int) -> Recorded:
    try:
        return Recorded.parse(line)
    except (ValueError, KeyError, TypeError) as error:
        raise BadCorpus(f"{path}:{number}: wanted a recorded event with type, bytes and json, found {line[:60]!r}: put it back") from error


def gaps(cls: type[Message], recorded: Iterable[Recorded]) -> list[str]:
    """The fields of `cls` that no recorded event of this type sets; `["(no event)"]` where there is none at all."""
    events = [cls.FromString(entry.raw) for entry in recorded if entry.type == cls.DESCRIPTOR.full_name]
    seen = {field.name for event in events for field, _ in event.ListFields()}
    return [field.name for field in cls.DESCRIPTOR.fields if field.name not in seen] if events else ["(no event)"]


def missing(recorded: Iterable[Recorded], events: Sequence[type[Message]] | None = None) -> Iterator[Recorded]:
    """Made-up events that close all gaps, in the order of their types, by default all that are registered."""
    held = list(recorded)
    for cls in all_events() if events is None else events:
        while prefer := gaps(cls, held):
            held.append(Recorded.of(example(cls, prefer=prefer)))
            yield held[-1]


def add(entries: Iterable[Recorded], folder: Path = CORPUS) -> int:
    """Append events that the corpus does not hold yet; returns how many those were."""
    known = {(entry.type, entry.raw) for entry in load(folder)}
    count = 0
    folder.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        if (entry.type, entry.raw) not in known:
            known.add((entry.type, entry.raw))
            with (folder / f"{entry.type.rpartition('.')[0]}.jsonl").open("a", encoding="utf-8") as file:
                file.write(entry.line() + "\n")
            count += 1
    return count


def forget(folder: Path = CORPUS, types: Types | None = None) -> int:
    """Remove the events that no longer read as recorded; returns how many. Only while no log exists that may hold them."""
    count = 0
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if _reads(Recorded.parse(line), types)]
        count += len(lines) - len(kept)
        path.write_text("".join(kept), encoding="utf-8")
        if not kept:
            path.unlink()
    return count


def _reads(entry: Recorded, types: Types | None) -> bool:
    try:
        entry.read(types)
    except BadCorpus:
        return False
    return True


def record(layout: Layout = OURS, *, check: bool = False, before_first_release: bool = False) -> str:
    """Add an example of every new event type and field to a corpus; returns what was done, in words.

    Raises `BadCorpus` where an event no longer reads as recorded; `before_first_release` throws it away instead. With `check` it changes
    nothing, and raises `Behind` where something is missing.
    """
    types = types_of(layout)
    thrown = f"{forget(layout.corpus, types)} thrown away, " if before_first_release and not check else ""
    recorded = load(layout.corpus)
    for entry in recorded:
        entry.read(types)
    wanted = list(missing(recorded, types.events))
    if check and wanted:
        lines = sorted({f"  {one.type}" for one in wanted})
        step = f"run `{layout.command}` and commit {layout.shown(layout.corpus)}"
        raise Behind("\n".join(("wanted a recorded example of every field, found none for:", *lines, step)))
    return f"corpus: {thrown}{len(recorded)} events read as recorded, {add(wanted, layout.corpus)} added"


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
    try:
        print(record(check=options.check, before_first_release=options.before_first_release))
    except SchemaError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
