"""Taking out of a model's answer, while it comes, what nobody should hear: thoughts, template marks, other speakers, texts behind a stop.

    engine's chunks ──▶ `cleaned` ──▶ chunks that can be spoken; tokens of what was taken out are counted

Of an answer in JSON everything before the object and behind it is left out (thoughts, fences, courtesies); its texts are cleaned where they
are spoken and recorded. The answer ends, and the engine is stopped, where something begins that is not this answer any more.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from inference.engine import Chunk, End, Finish, Prompt
from inference.json_schema import schema

CHARS_PER_TOKEN: Final = 8  # more than any language's words have: an answer that is longer has more tokens than were counted
MOST_BLANK: Final = 64  # characters of white space in a row; a model that writes more of it has got stuck
MOST_HELD: Final = 160  # characters that may turn out to begin a mark
OTHERS: Final = ("user", "human", "player", "customer")
OWN: Final = ("assistant", "model", "npc", "ai", "bot")

_WORDS = r"(?:think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad|seed:think)"
_MARK: Final = re.compile(
    rf"(?P<open><\s*{_WORDS}(?:\s[^<>]{{0,60}})?>|◁think▷|\[THINK\]|<\|begin_of_thought\|>|<\|channel\|>\s*(?:analysis|commentary)[^<]{{0,80}}<\|message\|>)"
    rf"|(?P<close></\s*{_WORDS}\s*>|◁/think▷|\[/THINK\]|<\|end_of_thought\|>|<\|channel\|>\s*final[^<]{{0,40}}(?:<\|constrain\|>[^<]{{0,40}})?<\|message\|>)"
    r"|(?P<end><\|(?!channel\|>)[^<>|\s]{1,40}\|>|<\uff5c[^<>\uff5c]{1,40}\uff5c>|</?s>|<eos>|<pad>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>)",
    re.IGNORECASE,
)
_MAY_BEGIN: Final = re.compile(
    r"<\|channel\|>[^<]{0,80}(?:<[^<>]{0,40}(?:>[^<]{0,40}(?:<[^<>]{0,12})?)?)?$|<[^<>\n]{0,60}$|◁[^▷\n]{0,8}$|\[/?[A-Z]{0,5}$"
)
_ROLE: Final = re.compile(r"\s*(?:assistant|model)(?=[^\w])[ \t:]*\n?", re.IGNORECASE)
_ROLES: Final = ("assistant", "model")
_PLAIN: Final = re.compile(r"[^<\[◁\n]*[^<\[◁\s]")
_OBJECT: Final = re.compile(r'\{\s*["}]')


def clean(text: str) -> str:
    """A whole text as it can be spoken: one that a model wrote into a property of its answer."""
    cleaner = Cleaner()
    return cleaner.feed(text) + cleaner.finish()


class Cleaner:
    """Plain text of one answer, which may go on from `spoken`. `others` and `own` name those who speak in it, besides the usual ones."""

    def __init__(
        self, *, stop: Sequence[str] = (), others: Sequence[str] = (), own: Sequence[str] = (), thinks: bool = False, spoken: str = ""
    ) -> None:
        self._stop = tuple(stop)
        self._others = {name.lower() for name in (*OTHERS, *others) if name}
        self._own = {name.lower() for name in (*OWN, *own) if name} - self._others
        self._depth = int(thinks)
        self._held = ""
        self._begun = bool(spoken)  # something was let out that is not white space
        self._line = spoken.rpartition("\n")[2][-64:]  # the end of what was let out: the beginning of its last line
        self._blank = 0  # characters of white space at its end
        self._before = " \t\r\n"  # characters that are left out before the answer begins
        self._role = False  # a mark was left out behind which a role may stand
        self.over = False
        """True once no more of what follows belongs to the answer."""
        self.closed_unopened = False
        """A thought ended that had not begun: this model begins inside one."""
        self.anew = False
        """The text let out before the last `feed` was such a thought."""

    def feed(self, text: str) -> str:
        """Take more text; return what of it can be spoken."""
        if self.over:
            return ""
        if (
            self._begun
            and not (self._held or self._depth or self._stop)
            and _PLAIN.fullmatch(text)
            and self._line
            and not self._line.isspace()
        ):
            self._line, self._blank = self._line[-32:] + text, 0  # most pieces of most answers
            return text
        self._held += text
        out: list[str] = []
        while (found := _MARK.search(self._held)) is not None and not self.over:
            self._without_role()
            self._mark(found, out)
        self._without_role()
        if not self.over and not self._role:
            out.append(self._free(len(self._held) - self._waiting()))
        return "".join(out)

    def finish(self) -> str:
        """The rest, at the engine's own end."""
        self._role = False
        return "" if self.over else self._free(len(self._held))

    def _without_role(self) -> None:
        if self._role and (found := _ROLE.match(self._held)) is not None:
            self._held, self._role = self._held[found.end() :], False
        word = self._held.strip().lower()
        self._role = self._role and any(one.startswith(word) for one in _ROLES)

    def _mark(self, found: re.Match[str], out: list[str]) -> None:
        before, behind = found.start(), found.end()
        kind = found.lastgroup
        if kind == "close":
            if not self._depth:
                text = self._free(before)
                if self.over:
                    out.append(text)
                    return
                self.closed_unopened = self.closed_unopened or "channel" not in found[0].lower()
                self.anew = self.anew or self._begun
                self._held, self._begun, self._line, self._blank = self._held[behind - before :], False, "", 0
                out.clear()
            else:
                self._depth = max(0, self._depth - 1) if "channel" not in found[0].lower() else 0
                self._held = self._held[behind:]
            return
        out.append(self._free(before))
        self._held = self._held[behind - before :]
        if kind == "open":
            self._depth += 1
        elif not self._depth and not self.over:
            self.over = self._begun
            self._role = not self._begun

    def _free(self, count: int) -> str:
        """Let out so many of the held characters, as far as they are the answer's."""
        text, self._held = self._held[:count], self._held[count:]
        if self._depth or not text:
            return ""
        at = self._end_of(text)
        if at >= 0:
            text, self.over = text[:at], True
        if not self._begun:
            text = self._without_own_name(text.lstrip(self._before)).lstrip(self._before)
        tail = len(text) - len(text.rstrip())
        self._blank = tail + (self._blank if tail == len(text) else 0)
        self._begun = self._begun or tail < len(text)
        self._line = (self._line + text).rpartition("\n")[2][-64:] if text else self._line
        return text

    def _end_of(self, text: str) -> int:
        """The place where something else than the answer begins, -1 if nowhere."""
        stops = [at for one in self._stop if (at := text.find(one)) >= 0]
        blank = re.search(rf"\s{{{MOST_BLANK},}}", " " * self._blank + text)
        speaker = self._speaker(text)
        return min([*stops, *([max(0, blank.start() - self._blank)] if blank else []), *([speaker] if speaker >= 0 else [])], default=-1)

    def _speaker(self, text: str) -> int:
        """The place where somebody else's line begins, its line break included."""
        start = -1
        while True:
            name, colon, _ = text[start + 1 :].partition("\n")[0].partition(":")
            if colon and name.strip(" *_\t").lower() in self._others and (start >= 0 or not self._line.strip()):
                return max(start, 0)
            start = text.find("\n", start + 1)
            if start < 0:
                return -1

    def _without_own_name(self, text: str) -> str:
        name, colon, rest = text.partition(":")
        if not colon or name.strip(" *_\t\n").lower() not in self._own:
            return text
        self._before = " *_\t\r\n"  # the name may have been written in bold
        return rest

    def _waiting(self) -> int:
        """The number of held characters that may be the beginning of something that ends or changes the answer."""
        held = self._held
        counts = [len(held) - found.start()] if (found := _MAY_BEGIN.search(held)) and len(held) - found.start() <= MOST_HELD else [0]
        for stop in self._stop:
            counts += [size for size in range(min(len(stop) - 1, len(held)), 0, -1) if held.endswith(stop[:size])][:1]
        line = held.rpartition("\n")[2]
        fresh = "\n" in held or not self._line.strip()
        name = line.strip(" *_\t").lower()
        if fresh and ":" not in line and any(one.startswith(name) for one in (*self._others, *(() if self._begun else self._own))):
            counts.append(len(line) + ("\n" in held))
        return max(counts)


class ObjectReader:
    """The outermost JSON object of an answer, without what stands before and behind it."""

    def __init__(self, *, thinks: bool = False) -> None:
        self._thinking = thinks
        self._depth = 0
        self._string = self._escaped = False
        self._blank = 0
        self._before = ""
        self._looked = 0  # in front of it nothing can begin any more
        self.over = self.anew = False
        self.closed_unopened = False

    def feed(self, text: str) -> str:
        """Take more text; return what of it belongs to the object."""
        if self.over:
            return ""
        if not self._depth:
            self._before += text
            self._pass_thoughts()
            start = self._start()
            if start < 0:
                self._forget()
                return ""
            text, self._before = self._before[start:], ""
        for at, char in enumerate(text):
            if self._ends(char):
                return text[:at] if self._depth else text[: at + 1]
        return text

    def finish(self) -> str:
        """The text that came instead of an object, if none came; of a thought without an end nothing."""
        return "" if self._depth or self.over or self._thinking else self._before

    def _pass_thoughts(self) -> None:
        behind = 0
        for found in _MARK.finditer(self._before, self._looked):
            if found.lastgroup == "close":
                self.closed_unopened |= not self._thinking
                self._thinking, behind = False, found.end()
            elif found.lastgroup == "open" and not self._thinking:
                if _OBJECT.search(self._before, max(self._looked, behind), found.start()) is not None:
                    break  # it stands inside the object, whose texts are cleaned elsewhere
                self._thinking = True
        if behind:
            self._before, self._looked = self._before[behind:], 0

    def _start(self) -> int:
        """The place of the object's beginning, -1 if it has not come or may be part of a mark that is not whole yet."""
        found = None if self._thinking else _OBJECT.search(self._before, self._looked)
        if found is None:
            return -1
        mark = _MAY_BEGIN.search(self._before, self._looked)
        return found.start() if mark is None or mark.start() > found.start() else -1

    def _forget(self) -> None:
        """Look at nothing twice that cannot begin a mark or the object: a thought may have thousands of pieces."""
        if self._thinking:
            self._before, self._looked = self._before[-MOST_HELD:], 0
        else:
            self._looked = max(0, min(len(self._before.rstrip()) - 1, len(self._before) - MOST_HELD))

    def _ends(self, char: str) -> bool:
        """Take one character; whether the object ends with it."""
        if self._string:
            self._string = char != '"' or self._escaped
            self._escaped = char == "\\" and not self._escaped
            return False
        self._blank = self._blank + 1 if char.isspace() else 0
        if char == '"':
            self._string = True
        elif char in "{[":
            self._depth += 1
        elif char in "}]":
            self._depth -= 1
        self.over = self._depth <= 0 or self._blank > MOST_BLANK
        return self.over


def cleaner_of(prompt: Prompt, *, thinks: bool) -> Cleaner | ObjectReader | None:
    """The cleaner of the answers to a prompt; None for those that are checked as a whole: choices, and JSON that is no object."""
    if prompt.choices:
        return None
    if prompt.json_schema:
        shape = schema(prompt.json_schema)
        return ObjectReader(thinks=thinks) if "properties" in shape or shape.get("type") == "object" else None
    return Cleaner(stop=prompt.stop, others=prompt.others, own=prompt.own, thinks=thinks, spoken=prompt.spoken)


async def cleaned(
    chunks: AsyncGenerator[Chunk, None], prompt: Prompt, cleaner: Cleaner | ObjectReader, *, prompt_tokens: int = 0
) -> AsyncGenerator[Chunk, None]:
    """The chunks with clean text. Ends, and closes the engine's generation, where the answer does.

    The answer also ends at `max_tokens`, counted in the engine's chunks and, of plain text, in characters. `prompt_tokens` is what the end
    of an answer that is cut off says; 0: nobody knows.
    """
    bounds = _Bounds(prompt, plain=isinstance(cleaner, Cleaner), prompt_tokens=prompt_tokens)
    async with aclosing(chunks):
        async for chunk in chunks:
            if chunk.end is None and bounds.reached(chunk.tokens):
                yield Chunk(bounds.take(cleaner.finish(), 0), 0, (), bounds.end("length"))
                return
            text = bounds.take(cleaner.feed(chunk.text) + (cleaner.finish() if chunk.end is not None else ""), chunk.tokens)
            anew, cleaner.anew = cleaner.anew, False
            end = bounds.end("length") if bounds.over else chunk.end
            if end is None and cleaner.over:
                end = bounds.end("matched" if prompt.json_schema else "stop")
            if text or chunk.tokens or end is not None:
                yield Chunk(text, chunk.tokens, chunk.token_ids, end, anew)
            if end is not None:
                return


class _Bounds:
    """The limits of one answer."""

    def __init__(self, prompt: Prompt, *, plain: bool, prompt_tokens: int) -> None:
        self._prompt_tokens = prompt_tokens
        self._tokens_left = prompt.max_tokens if plain else 2 * prompt.max_tokens + 16  # an object that is cut is worth nothing
        self._chars_left = CHARS_PER_TOKEN * (prompt.max_tokens + 2) if plain else 1 << 20
        self.tokens = 0
        self.over = False

    def reached(self, tokens: int) -> bool:
        """True if so many tokens more are too many."""
        return self.tokens > 0 and tokens > 0 and self.tokens + tokens > self._tokens_left

    def take(self, text: str, tokens: int) -> str:
        """The text up to the bound, between words."""
        self.tokens += tokens
        if len(text) > self._chars_left:
            self.over = True
            text = text[: self._chars_left].rpartition(" ")[0] or text[: self._chars_left]
        self._chars_left -= len(text)
        return text

    def end(self, finish: Finish) -> End:
        """The end of an answer that was cut off here."""
        return End(finish, self._prompt_tokens, 0, self.tokens)
