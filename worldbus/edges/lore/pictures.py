"""Pictures inside of a text: what a document shows as bytes is replaced by the words that it has for it.

A picture of 240 kB in a `data:` URI is text to a Markdown parser, a hundred passages of letters that mean nothing. It gives way to its
alternative text, or to its title; so do drawings in SVG. Lines stay where they are, so passages name the lines of the file.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Final

LONG: Final = 100  # characters of a URI's data; what is shorter, and no picture, is an example in somebody's text
_URI: Final = re.compile(r"(?<![\w-])data:(?:[\w.+-]+/[\w.+*-]+)?(?:;[\w.+-]+(?:=[\w.+-]+)?)*,", re.IGNORECASE)
_BARE: Final = re.compile(
    r"[^\s\"'<>()\[\]`]*(?:\n[ \t>]*[A-Za-z0-9+/]{40,}={0,2}(?=\s|[)>\"'\]]|\Z))*(?:\n[ \t>]*[A-Za-z0-9+/]{1,75}={1,2}(?=\s|[)>\"'\]]|\Z))?"
)
"""Data that no quotation mark ends: one word, and further lines of Base64 if they are as long as such lines are."""
_MARK: Final = r"\0(?P<uri>\d+)\0"  # stands for a URI until it is known what it is part of; no text has NUL characters
_TITLE: Final = r"""(?:\s+(?:"(?P<double>[^"\0]{0,500})"|'(?P<single>[^'\0]{0,500})'|\((?P<round>[^()\0]{0,500})\)))?"""
_INLINE: Final = re.compile(rf"\]\(\s*<?{_MARK}>?{_TITLE}\s*\)")
_DEFINED: Final = re.compile(
    rf"^(?P<indent>(?:[ ]{{0,3}}|[ \t>]+))\[(?P<label>[^\[\]\0\n]{{1,500}})\]:\s*<?{_MARK}>?{_TITLE}[ \t]*$", re.MULTILINE
)
_REFERRED: Final = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]\\\0]|\\.){0,1000})\](?:\[(?P<label>[^\[\]\0]{0,500})\])?(?![(:])")
_TAG: Final = re.compile(r"<(?P<name>[A-Za-z][\w-]{0,30})\b(?P<rest>(?:[^<>\"']|\"[^\"]*\"|'[^']*')*+)>")
_ATTRIBUTE: Final = re.compile(r"""\s*(?P<key>[\w:-]{1,60})\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"'<>]+))""")
_LEFT: Final = re.compile(_MARK)
_SHOWN: Final = frozenset({"img", "image", "source", "object", "embed", "audio", "video", "input", "picture", "track"})
_SVG_NAMES: Final = re.compile(r"<title[^<>]{0,200}>([^<]{0,500})</title>|\baria-label=\"([^\"]{0,500})\"", re.IGNORECASE)
_LOOKED_BACK: Final = 1000  # characters for the beginning of a picture's alternative text


def without_pictures(text: str) -> str:
    """The text with words instead of bytes, as many lines as before.

    >>> without_pictures("![The seal](data:image/png;base64,iVBORw0KGgo=)")
    'The seal'
    """
    if "<svg" in text:
        text = _without_drawings(text)
    if _URI.search(text) is None:
        return text
    uris: list[str] = []
    text = _marked(text, uris)
    text = _replaced(_TAG, text, lambda found: _tag(found) if "\0" in found["rest"] else None)
    text = _inline(text)
    text = _references(text)
    return _LEFT.sub(lambda found: _shortened(uris[int(found["uri"])]), text)


def _without_drawings(text: str) -> str:
    parts: list[str] = []
    done = 0
    while (start := text.find("<svg", done)) >= 0 and (end := text.find("</svg>", start)) >= 0:
        end += len("</svg>")
        drawing = text[start:end]
        named = _SVG_NAMES.search(drawing)
        words = html.unescape(next(filter(None, named.groups()), "")) if named else ""
        parts += [text[done:start], words if end - start > LONG else drawing, "\n" * drawing.count("\n") if end - start > LONG else ""]
        done = end
    return "".join([*parts, text[done:]])


def _marked(text: str, uris: list[str]) -> str:
    """The text with a mark for each URI, and the lines that it took behind the mark."""
    parts: list[str] = []
    done = 0
    while (found := _URI.search(text, done)) is not None:
        end = _end(text, found)
        uri = text[found.start() : end]
        parts += [text[done : found.start()], f"\0{len(uris)}\0", "\n" * uri.count("\n")]
        uris.append(uri)
        done = end
    return "".join([*parts, text[done:]])


def _end(text: str, found: re.Match[str]) -> int:
    """The end of the URI: at the quotation mark that it began with, or where no URI goes on."""
    quote = text[found.start() - 1 : found.start()]
    if quote in ("'", '"'):
        end = text.find(quote, found.end())
        if end >= 0 and "\n\n" not in text[found.end() : end]:
            return end
    bare = _BARE.match(text, found.end())
    assert bare is not None
    return bare.end()


def _replaced(pattern: re.Pattern[str], text: str, words: Callable[[re.Match[str]], str | None]) -> str:
    """Each match gives way to its words, and to the lines that it took; with None it stays."""

    def one(found: re.Match[str]) -> str:
        said = words(found)
        return found.group() if said is None else said + "\n" * (found.group().count("\n") - said.count("\n"))

    return pattern.sub(one, text)


def _tag(found: re.Match[str]) -> str:
    """The words of a picture about itself, or the tag without its bytes."""
    pairs = [
        (pair["key"].lower(), pair["double"] or pair["single"] or pair["bare"] or "", pair.group())
        for pair in _ATTRIBUTE.finditer(found["rest"])
    ]
    if found["name"].lower() in _SHOWN:
        values = {key: value for key, value, _ in pairs if "\0" not in value}
        return html.unescape(values.get("alt") or values.get("title") or values.get("aria-label") or "")
    kept = "".join(whole for _, value, whole in pairs if "\0" not in value)
    return f"<{found['name']}{kept}>"


def _inline(text: str) -> str:
    """`![alternative](data:…)` and `[words](data:…)`: their words, found by looking back for the bracket that opens them."""
    parts: list[str] = []
    done = 0
    for found in _INLINE.finditer(text):
        opening = _opening(text, max(done, found.start() - _LOOKED_BACK), found.start())
        if opening is None:
            continue
        words = text[opening + 1 : found.start()]
        begin = opening - 1 if text[opening - 1 : opening] == "!" and opening > done else opening
        said = words.strip() or _title(found)
        parts += [text[done:begin], said, "\n" * (text.count("\n", begin, found.end()) - said.count("\n"))]
        done = found.end()
    return "".join([*parts, text[done:]])


def _opening(text: str, least: int, end: int) -> int | None:
    """The place of the opening bracket that belongs to the closing one at `end`."""
    depth = 0
    for at in range(end - 1, least - 1, -1):
        if text[at] == "]" and text[at - 1 : at] != "\\":
            depth += 1
        elif text[at] == "[" and text[at - 1 : at] != "\\":
            if depth == 0:
                return at
            depth -= 1
    return None


def _title(found: re.Match[str]) -> str:
    return (found["double"] or found["single"] or found["round"] or "").strip()


def _references(text: str) -> str:
    """`[label]: data:…` goes, and what refers to it becomes words."""
    titles = {_label(found["label"]): _title(found) for found in _DEFINED.finditer(text)}
    if not titles:
        return text
    text = _replaced(_DEFINED, text, lambda found: found["indent"] if ">" in found["indent"] else "")

    def words(found: re.Match[str]) -> str | None:
        label = _label(found["label"] or found["text"])
        if label not in titles or (found["label"] is None and not found["image"]):
            return None
        alone = not found["label"]  # the label is the text as well
        return titles[label] or str(found["text"]) if alone else str(found["text"]).strip() or titles[label]

    return _replaced(_REFERRED, text, words)


def _label(text: str) -> str:
    return " ".join(text.split()).casefold()


def _shortened(uri: str) -> str:
    head, comma, data = uri.partition(",")
    return f"{head},…" if len(data) >= LONG else uri if "\n" not in uri else head + comma + "".join(data.split())
