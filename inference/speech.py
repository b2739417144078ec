"""Speech: text on its way out as chunks that can be spoken as they are.

A chunk is a whole sentence where there is one, a clause where the sentence is long, and some words where no end comes for too long: a
stream that drips without punctuation still speaks. Of a JSON answer only the properties that the request declares are spoken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from inference.dressing import plain
from inference.engines.cleaning import Cleaner

MIN_SENTENCE: Final = 2  # characters
LONG: Final = 80  # characters from which on a clause's end is good enough
TOO_LONG: Final = 160  # characters from which on a space is
TOO_LATE_S: Final = 0.5  # seconds without a chunk from which on a space is, if there are some words
SOME_WORDS: Final = 12  # characters
_WIDE: Final = "\u3002\uff01\uff1f"  # full stop, exclamation and question mark of Chinese and Japanese; no space follows them
_SENTENCE: Final = re.compile(rf"[.!?\u2026]+[\"'\u201d\u2019)\]]*(?=\s)|[{_WIDE}]")
_CLAUSE: Final = re.compile(r"[,;:\u2014\u2013](?=\s)|[\uff0c\uff1b\uff1a]")


class Chunker:
    """Cuts text into speakable chunks; nothing is lost: the chunks joined are the text."""

    def __init__(self) -> None:
        self._rest = ""
        self._since: float | None = None

    def feed(self, text: str, now: float) -> str:
        """Take more text; returns what can be spoken now, if anything. `now` is seconds of any steady clock."""
        if self._since is None:
            self._since = now
        self._rest += text
        cut = self._cut(now)
        if not cut:
            return ""
        chunk, self._rest = self._rest[:cut], self._rest[cut:]
        self._since = now if self._rest else None
        return chunk

    def finish(self) -> str:
        """The rest."""
        rest, self._rest = self._rest, ""
        return rest

    def _cut(self, now: float) -> int:
        rest = self._rest
        ends = [match.end() for match in _SENTENCE.finditer(rest) if match.end() >= MIN_SENTENCE]
        if ends:
            return self._with_spaces(ends[-1])
        late = self._since is not None and now - self._since > TOO_LATE_S and len(rest) >= SOME_WORDS
        if len(rest) > LONG or late:
            clauses = [match.end() for match in _CLAUSE.finditer(rest)]
            if clauses:
                return self._with_spaces(clauses[-1])
        if len(rest) > TOO_LONG or late:
            return rest.rfind(" ") + 1 or (len(rest) if len(rest) > TOO_LONG else 0)
        return 0

    def _with_spaces(self, end: int) -> int:
        while end < len(self._rest) and self._rest[end].isspace():
            end += 1
        return end


class SpokenFields:
    """The texts of the properties `names` of a JSON object, as they come, with a space between two; other properties are not spoken."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)
        self._spoke = ""  # the property that spoke last
        self._depth = 0
        self._string: list[str] | None = None
        self._escape = ""
        self._key = ""
        self._value = False  # behind a colon of the outermost object
        self._surrogate = ""

    def feed(self, text: str) -> str:
        """Take more JSON; returns what of it is spoken."""
        return "".join(said for char in text if (said := self._char(char)))

    def _char(self, char: str) -> str:
        if self._string is not None:
            return self._inside(char)
        if char == '"':
            self._string = []
        elif char in "{[":
            self._depth += 1
            self._value = False
        elif char in "}]":
            self._depth -= 1
            self._value = False
        elif char == ":" and self._depth == 1:
            self._value = True
        elif char == "," and self._depth == 1:
            self._value, self._key = False, ""
        return ""

    @property
    def _speaking(self) -> bool:
        return self._value and self._depth == 1 and self._key in self._names

    def _inside(self, char: str) -> str:
        assert self._string is not None
        if self._escape:
            return self._escaped(char)
        if char == "\\":
            self._escape = char
            return ""
        if char == '"':
            if self._depth == 1 and not self._value:
                self._key = "".join(self._string)
            self._string = None
            return ""
        return self._take(char)

    def _take(self, char: str) -> str:
        assert self._string is not None
        if self._speaking:
            between = " " if self._spoke not in ("", self._key) else ""
            self._spoke = self._key
            return between + char
        self._string.append(char)
        return ""

    def _escaped(self, char: str) -> str:
        self._escape += char
        if self._escape[1] == "u":
            if len(self._escape) < 6:
                return ""
            try:
                code = int(self._escape.removeprefix("\\u"), base=16)
            except ValueError:
                code = 0xFFFD
            return self._unit(code)
        self._escape = ""
        return self._take({"n": "\n", "t": "\t", "r": "\r", "b": "", "f": ""}.get(char, char))

    def _unit(self, code: int) -> str:
        """One UTF-16 unit; halves of a pair wait for each other."""
        self._escape = ""
        if 0xD800 <= code < 0xDC00:
            self._surrogate = chr(code)
            return ""
        if 0xDC00 <= code < 0xE000:
            high, self._surrogate = self._surrogate, ""
            pair = 0x10000 + ((ord(high) - 0xD800) << 10) + (code - 0xDC00) if high else 0xFFFD
            return self._take(chr(pair))
        self._surrogate = ""
        return self._take(chr(code))


class Voice:
    """One answer being spoken: engine text in, speakable chunks out.

    With `names` the answer is a JSON object of which these properties are spoken. `whole` answers (choices) are spoken at their end only.
    """

    def __init__(self, names: Sequence[str] = (), *, whole: bool = False) -> None:
        self._say = SpokenFields(names) if names else None
        self._cleaner = Cleaner() if names else None  # a model may think or play others inside a property, too
        self._whole = whole
        self._kept = ""
        self._chunker = Chunker()

    def feed(self, text: str, now: float) -> str:
        """The next chunk, or nothing."""
        said = plain(self._spoken(text))
        if self._whole:
            self._kept += said
            return ""
        return self._chunker.feed(said, now)

    def _spoken(self, text: str) -> str:
        if self._say is None or self._cleaner is None:
            return text
        said = self._cleaner.feed(self._say.feed(text))
        if self._cleaner.anew:
            self._cleaner.anew = False
            self._chunker = Chunker()
        return said

    def finish(self) -> str:
        """The rest that is still to be spoken."""
        kept, self._kept = self._kept, ""
        rest = plain(self._cleaner.finish()) if self._cleaner is not None else ""
        return kept + self._chunker.finish() + rest
