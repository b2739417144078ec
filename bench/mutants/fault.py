"""A planted fault: one small change of the source that breaks a promise, and the tests that have to notice it."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("faults.toml")


class Misplanted(Exception):
    """A fault that cannot be planted any more; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`find`, which stands once in `file`, becomes `put`. Every one of `tests` fails then.

    `chaos`: options of `worldbus bench chaos` with which it notices the fault too, and the rule that is broken, or nothing.
    """

    name: str
    file: str
    promise: str
    reason: str
    find: str
    put: str
    tests: tuple[str, ...]
    chaos: str = ""
    chaos_rule: str = ""

    @property
    def digest(self) -> str:
        """Changes with anything that is said about the fault."""
        return sha256(msgspec.json.encode(self)).hexdigest()[:16]

    def plant(self, root: Path) -> str:
        """The file's text with the fault in it. Raises `Misplanted`."""
        path = root / self.file
        if not path.exists():
            raise Misplanted(f"fault {self.name}: wanted the file {self.file}, found none: name the file that has this code now")
        text = path.read_text()
        times = text.count(self.find)
        if times != 1:
            raise Misplanted(
                f"fault {self.name}: wanted {self.find!r} once in {self.file}, found it {times} times: look at what became of that code, "
                f"and write the same fault anew in {FILE.relative_to(ROOT)}"
            )
        planted = text.replace(self.find, self.put)
        try:
            ast.parse(planted)
        except SyntaxError as error:
            raise Misplanted(f"fault {self.name}: {self.file} is no Python with it, line {error.lineno}: {error.msg}") from error
        if self.find == self.put or ast.dump(ast.parse(planted)) == ast.dump(ast.parse(text)):
            raise Misplanted(f"fault {self.name}: it changes nothing in {self.file}")
        return planted


class _File(msgspec.Struct, forbid_unknown_fields=True):
    fault: list[Fault]


def load(path: Path = FILE) -> Sequence[Fault]:
    """Every fault on the list, in its order."""
    faults = msgspec.convert(tomllib.loads(path.read_text()), _File).fault
    names = [fault.name for fault in faults]
    if twice := {name for name in names if names.count(name) > 1}:
        raise Misplanted(f"wanted a name of its own for each fault, found {sorted(twice)} twice")
    return faults
