"""Errors of documents, each with its place in the file."""

from __future__ import annotations

from bus.errors import Rejected


class BadLore(Rejected):
    """A document that cannot be taken in. `code` is the stable name of the rule; `facts`: `file` and, where it is known, `line`."""

    def __init__(self, reason: str, *, code: str, line: int | None = None, file: str = "") -> None:
        super().__init__(reason, file=file, line=line)
        self.reason, self.code, self.line, self.file = reason, code, line, file

    def __str__(self) -> str:
        place = ", ".join([*([self.file] if self.file else []), *([f"line {self.line}"] if self.line else [])])
        return f"{place}: {self.reason}" if place else self.reason

    def within(self, file: str) -> BadLore:
        """The same problem, of this file."""
        return BadLore(self.reason, code=self.code, line=self.line, file=file if file.isprintable() else ascii(file))


class BadDocuments(Rejected):
    """Some documents cannot be taken in, so none was. `problems` has all of them."""

    code = "BAD_LORE"

    def __init__(self, problems: list[BadLore]) -> None:
        lines = "\n  ".join(str(problem) for problem in problems)
        super().__init__(f"wanted documents without faults, found these, so nothing was ingested:\n  {lines}", problems=len(problems))
        self.problems = problems
