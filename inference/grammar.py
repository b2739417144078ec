"""Grammars in the manner of Tracery: authored pieces put together by dice. Pure: the same grammar, seed and slots give the same text.

A template is text with

- `#rule#`, replaced by one of the rule's templates, or `#slot#`, replaced by a text of the request (data: it is never expanded);
- `#rule:slot#`, where the rule has cases and the slot's text names one of them (`otherwise` if none has that name);
- `#rule.capitalize.s#`, changed by modifiers: `capitalize`, `a` (with its article), `s` (plural);
- `[name:template]`, expanded at once and remembered as `#name#` for the rest of the text;
- `##`, a plain `#`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import Final

from bus.errors import BadSettings

ORIGIN: Final = "origin"
OTHERWISE: Final = "otherwise"
MAX_DEPTH: Final = 24  # deeper than this, or after
MAX_SYMBOLS: Final = 500  # so many, only the shortest way out is taken
MAX_SLOT: Final = 200  # characters of a slot's text that are used

_NAME: Final = r"[a-z][a-z0-9_]*"
_TOKEN: Final = re.compile(
    rf"##|#(?P<symbol>{_NAME})(?::(?P<by>{_NAME}))?(?P<mods>(?:\.[a-z]+)*)#|\[(?P<bind>{_NAME}):(?P<value>[^\[\]]*)\]|(?P<bad>#|\[|\])"
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")


@dataclass(frozen=True, slots=True)
class Symbol:
    """A place in a template that a rule or a slot fills."""

    name: str
    by: str = ""
    modifiers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bind:
    """A text that is made once and used again."""

    name: str
    template: Template


Template = tuple["str | Symbol | Bind", ...]
Rule = Mapping[str, tuple[Template, ...]]  # case → alternatives; a rule without cases has only `otherwise`


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def _article(text: str) -> str:
    return f"an {text}" if text[:1].lower() in set("aeiou") else f"a {text}"


def _plural(text: str) -> str:
    if re.search(r"[^aeiou]y$", text):
        return f"{text[:-1]}ies"
    return f"{text}es" if re.search(r"(s|x|z|ch|sh)$", text) else f"{text}s"


MODIFIERS: Final = MappingProxyType({"capitalize": _capitalize, "a": _article, "s": _plural})


def clean(text: str) -> str:
    """A slot's text as it may be spoken: without control characters and marks of direction, in one line, at most `MAX_SLOT` characters."""
    return " ".join(_CONTROL.sub(" ", text[: 4 * MAX_SLOT]).split())[:MAX_SLOT].rstrip()


@dataclass(slots=True)
class _Telling:
    """One expansion under way."""

    dice: Random
    bound: dict[str, str]
    symbols: int = 0


@dataclass(frozen=True, slots=True)
class Grammar:
    """Checked rules: every symbol is known and every rule comes to an end. Made by `Grammar.of`."""

    name: str
    rules: Mapping[str, Rule]
    slots: Mapping[str, str] = field(default_factory=dict)
    """Slots with what stands in when a request gives no text for them."""
    heights: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, rules: Mapping[str, object], slots: Mapping[str, object] | None = None) -> Grammar:
        """The grammar that these tables mean. Raises `BadSettings` with everything that is wrong with it."""
        faults: list[str] = []
        texts = {slot: text for slot, text in (slots or {}).items() if isinstance(text, str)}
        faults += [f"slot {slot}: wanted a text, found {text!r}" for slot, text in (slots or {}).items() if slot not in texts]
        parsed = {rule: _rule(rule, body, faults) for rule, body in rules.items()}
        grammar = cls(name, parsed, texts, _heights(parsed))
        faults += grammar._unknown()
        faults += [
            f"rule {rule}: never comes to an end, give it an alternative without itself" for rule in parsed if rule not in grammar.heights
        ]
        if ORIGIN not in parsed:
            faults.append(f"rules: wanted a rule {ORIGIN!r} where texts begin, found none")
        if faults:
            raise BadSettings(f"grammar {name}: " + "; ".join(sorted(set(faults))), grammar=name, faults=tuple(faults))
        return grammar

    def expand(self, seed: int, slots: Mapping[str, str] | None = None, rule: str = ORIGIN) -> str:
        """The text that these dice make of `rule`."""
        given = {name: clean(text) for name, text in (slots or {}).items() if name in self.slots}
        bound = {**self.slots, **{name: text for name, text in given.items() if text}}
        return "".join(self._symbol(Symbol(rule), _Telling(Random(f"{self.name}\n{rule}\n{seed}"), bound), 0))

    def _symbol(self, symbol: Symbol, telling: _Telling, depth: int) -> Iterator[str]:
        telling.symbols += 1
        if symbol.modifiers:
            text = "".join(self._symbol(Symbol(symbol.name, symbol.by), telling, depth))
            for modifier in symbol.modifiers:
                text = MODIFIERS[modifier](text)
            yield text
        elif symbol.name in self.rules and symbol.name not in telling.bound:
            alternatives = self._case(symbol, telling.bound)
            if depth >= MAX_DEPTH or telling.symbols >= MAX_SYMBOLS:
                template = min(alternatives, key=lambda each: _height(each, self.heights) or 0)
            else:
                template = alternatives[int(telling.dice.random() * len(alternatives))]
            yield from self._template(template, telling, depth + 1)
        else:
            yield telling.bound.get(symbol.name, "")

    def _case(self, symbol: Symbol, bound: Mapping[str, str]) -> tuple[Template, ...]:
        rule = self.rules[symbol.name]
        return rule.get(bound.get(symbol.by, ""), rule[OTHERWISE])

    def _template(self, template: Template, telling: _Telling, depth: int) -> Iterator[str]:
        for piece in template:
            if isinstance(piece, str):
                yield piece
            elif isinstance(piece, Symbol):
                yield from self._symbol(piece, telling, depth)
            else:
                telling.bound[piece.name] = "".join(self._template(piece.template, telling, depth))

    def _unknown(self) -> Iterator[str]:
        known = {*self.rules, *self.slots, *(piece.name for piece in _pieces(self.rules) if isinstance(piece, Bind))}
        for rule, body in self.rules.items():
            for piece in _pieces({rule: body}):
                if isinstance(piece, Symbol):
                    wanted = [piece.name, *([piece.by] if piece.by else [])]
                    yield from (f"rule {rule}: #{name}#: neither a rule nor a slot" for name in wanted if name not in known)
                    strange = (name for name in piece.modifiers if name not in MODIFIERS)
                    yield from (f"rule {rule}: .{name}: wanted one of {', '.join(MODIFIERS)}" for name in strange)
        yield from (f"{name}: both a rule and a slot" for name in self.slots if name in self.rules)


def _rule(name: str, body: object, faults: list[str]) -> Rule:
    """`body` is a list of templates, or a table of such lists with `otherwise`."""
    cases = body if isinstance(body, Mapping) else {OTHERWISE: body}
    rule: dict[str, tuple[Template, ...]] = {}
    for case, lines in cases.items():
        if not isinstance(lines, list) or not lines or not all(isinstance(line, str) for line in lines):
            faults.append(f"rule {name}: wanted a list of texts, found {lines!r}")
            lines = [""]
        rule[case] = tuple(_parse(name, line, faults) for line in lines)
    if OTHERWISE not in rule:
        faults.append(f"rule {name}: wanted a case {OTHERWISE!r} for all other texts, found {', '.join(rule)}")
        rule[OTHERWISE] = ((),)
    return rule


def _parse(rule: str, text: str, faults: list[str]) -> Template:
    pieces: list[str | Symbol | Bind] = []
    at = 0
    for found in _TOKEN.finditer(text):
        pieces.append(text[at : found.start()])
        at = found.end()
        if found["bad"]:
            faults.append(f"rule {rule}: {found['bad']!r} at {found.start()} of {text!r} has no partner; a plain # is written ##")
        elif found["symbol"]:
            pieces.append(Symbol(found["symbol"], found["by"] or "", tuple(filter(None, found["mods"].split(".")))))
        elif found["bind"]:
            pieces.append(Bind(found["bind"], _parse(rule, found["value"], faults)))
        else:
            pieces.append("#")
    pieces.append(text[at:])
    return tuple(piece for piece in pieces if piece != "")


def _pieces(rules: Mapping[str, Rule]) -> Iterator[str | Symbol | Bind]:
    for rule in rules.values():
        for alternatives in rule.values():
            for template in alternatives:
                for piece in template:
                    yield piece
                    if isinstance(piece, Bind):
                        yield from piece.template


def _heights(rules: Mapping[str, Rule]) -> dict[str, int]:
    """The number of rules that the shortest expansion of each rule goes through; a rule that never ends has none."""
    heights: dict[str, int] = {}
    while True:
        before = len(heights)
        for name, rule in rules.items():
            if name in heights:
                continue
            shortest = [
                min((height for each in case if (height := _height(each, heights, rules)) is not None), default=None)
                for case in rule.values()
            ]
            known = [height for height in shortest if height is not None]
            if len(known) == len(shortest):  # every case must have a way out
                heights[name] = 1 + max(known)
        if len(heights) == before:
            return heights


def _height(template: Template, heights: Mapping[str, int], rules: Mapping[str, Rule] | None = None) -> int | None:
    """The height of the tallest symbol; None while one is not known to end. Slots and remembered texts have none."""
    tallest = 0
    for piece in template:
        if isinstance(piece, Symbol) and (rules is None or piece.name in rules):
            if rules is not None and piece.name not in heights:
                return None
            tallest = max(tallest, heights.get(piece.name, 0))
        elif isinstance(piece, Bind):
            inner = _height(piece.template, heights, rules)
            if inner is None:
                return None
            tallest = max(tallest, inner)
    return tallest
