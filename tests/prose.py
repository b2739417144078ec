"""`python -m tests.prose`: print each docstring whose first line is no verb phrase and no noun phrase; exit with 1 if there is any.

A first line names a thing ("The durable position of a projection.") or says what is done ("Pick the requests to refuse."). A clause that
opens with a question word, a pronoun or a conjunction ("What is known of it.", "It has ended.", "As above, but later.") makes sense only
beside its code, and a reader meets first lines alone: in `pydoc`, in an editor's hint, in a list of functions.

`CLEAN` lists the packages that are held to this. `--all` prints the offenders of the other ones too, `--count` how many each package has.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CLEAN: Final = (
    *("bench", "bus", "clients", "examples", "handlers", "inference"),
    *("migrations", "projections", "requirements", "schemas", "worldbus", "worlds"),
)
OTHERS: Final = ("tests",)
GENERATED: Final = ("gen", "node_modules")

QUESTIONS: Final = "how what whatever when whenever where wherever whether which whichever who whoever whom whose why"
PRONOUNS: Final = (
    "anybody anyone anything everybody everyone everything he her here his i it its my nobody nothing one's our she somebody someone "
    "something that their there these they this those we you your"
)
CONJUNCTIONS: Final = "although as because if since so though unless until while"
OPENERS: Final = frozenset(f"{QUESTIONS} {PRONOUNS} {CONJUNCTIONS}".split())


@dataclass(frozen=True, slots=True)
class Finding:
    """A docstring that opens with a word of `OPENERS`."""

    file: Path
    line: int
    first_line: str

    def __str__(self) -> str:
        opener = self.first_line.split()[0]
        return f'{self.file}:{self.line}: wanted a verb or a noun phrase, found {opener!r} first: "{self.first_line}"'


def opener(text: str) -> str:
    """The first word of a docstring in lower case, without its marks; empty if it begins with anything but letters."""
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    word = first.lower().rstrip(".,:;!?")
    return word.removesuffix("'s") if word.removesuffix("'s") in OPENERS else word


def findings(source: str, file: Path) -> Iterator[Finding]:
    """Every docstring of a module's source that opens with a word of `OPENERS`, in the order of their lines."""
    for line, text in docstrings(ast.parse(source)):
        if opener(text) in OPENERS:
            yield Finding(file, line, text.strip().splitlines()[0])


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring: of a module, a class, a function, and of the name that is assigned to right above it."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        owns = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for before, one in zip([None, *body], body, strict=False):
            match one:
                case ast.Expr(value=ast.Constant(value=str(text))) if isinstance(before, ast.Assign | ast.AnnAssign) or (
                    owns and not before
                ):
                    yield one.lineno, text


def offenders(package: str, root: Path = ROOT) -> list[Finding]:
    """The findings in all hand-written modules of a top-level package."""
    return [
        found
        for file in sorted((root / package).rglob("*.py"))
        if not set(file.relative_to(root).parts) & set(GENERATED)
        for found in sorted(findings(file.read_text(encoding="utf-8"), file.relative_to(root)), key=lambda one: one.line)
    ]


def main(arguments: list[str]) -> int:
    """Check the packages of `CLEAN`."""
    if "--count" in arguments:
        sys.stdout.writelines(f"{len(offenders(package)):5} {package}\n" for package in (*CLEAN, *OTHERS))
        return 0
    found = [one for package in (*CLEAN, *(OTHERS if "--all" in arguments else ())) for one in offenders(package)]
    sys.stdout.writelines(f"{one}\n" for one in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
