"""Watching an engine's releases as a handler, `uemonitor`: what a feed says, and which of it is news.

    ReleaseFeedRead ──▶ EngineVersionAnnounced (each version once) [+ EngineVersionsListed] [+ FeedEntriesRefused] [+ FeedOutageEnded]
    ReleaseFeedFailed ──▶ FeedOutageNoticed (once per outage)

A feed's first reading is its past: only the newest release is news, and the newest preview if it is above that. Later every version nobody
had told of is announced, the lowest first; those beyond `MAX_ANNOUNCED` in one reading are listed together, as the past is. The reading
itself (file, HTTP) is done by the edge `release-feed`; here is only the decision, so a replay never asks the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from google.protobuf.message import Message

from bus.event import Event
from bus.handler import Handler
from handlers.versions import MAX_LENGTH, VERSION_RULE, Version, parse
from schemas.gen.worldbus.uemonitor.v1.types_pb2 import FeedEntry
from schemas.gen.worldbus.uemonitor.v1.uemonitor_pb2 import (
    EngineVersionAnnounced,
    EngineVersionsListed,
    FeedEntriesRefused,
    FeedOutageEnded,
    FeedOutageNoticed,
    ReleaseFeedFailed,
    ReleaseFeedRead,
)

EDGE: Final = "release-feed"  # whose word on a feed counts
MAX_KNOWN: Final = 1024  # versions remembered per line; beyond that the lowest are forgotten, and nothing below them is news
MAX_ENTRIES: Final = 512  # of one reading
MAX_ANNOUNCED: Final = 16  # by one reading
MAX_REFUSED: Final = 64  # texts remembered that are no versions
OUTAGE_ATTEMPTS: Final = 3  # failures in a row from which on somebody should look
_SHOWN: Final = 8  # refused texts shown in a reason

Said = Sequence[Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One engine's line. `known` rises; `floor` is the lowest version that could still be news."""

    known: tuple[Version, ...] = ()
    floor: Version | None = None
    refused: tuple[str, ...] = ()
    outage: bool = False

    def highest(self, channel: str) -> Version | None:
        """The highest version known of a channel, or None."""
        return next((version for version in reversed(self.known) if version.channel == channel), None)


def decide(event: Event, line: Line) -> Said:
    """The events that a reading of the feed, or a failure to read it, leads to."""
    match event.data:
        case ReleaseFeedRead() as it:
            return _read(it, line)
        case ReleaseFeedFailed() as it:
            return _failed(it, line)
        case _:
            return ()


def _failed(it: ReleaseFeedFailed, line: Line) -> Said:
    if line.outage or it.attempts < OUTAGE_ATTEMPTS:
        return ()
    return (FeedOutageNoticed(source=it.source, code=it.code, reason=it.reason, attempts=it.attempts),)


def _read(it: ReleaseFeedRead, line: Line) -> Said:
    ended = (FeedOutageEnded(source=it.source),) if line.outage else ()
    entries = it.entries[:MAX_ENTRIES]
    fresh = _fresh(entries, line)
    news = _past_news(fresh) if not line.known else sorted(fresh)[-MAX_ANNOUNCED:]
    listed = [str(version) for version in sorted(fresh.keys() - set(news))]
    past = (EngineVersionsListed(versions=listed),) if listed else ()
    return (*ended, *past, *_announced(news, fresh, line), *_refused(entries, line))


def _fresh(entries: Iterable[FeedEntry], line: Line) -> dict[Version, FeedEntry]:
    """Versions nobody told of, with the entry that told first."""
    known = set(line.known)
    fresh: dict[Version, FeedEntry] = {}
    for entry in entries:
        version = parse(entry.version)
        if version is not None and version not in known and (line.floor is None or version > line.floor):
            fresh.setdefault(version, entry)
    return fresh


def _past_news(fresh: Iterable[Version]) -> list[Version]:
    """Of a feed's past only its newest release is news, and a preview above it."""
    rising = sorted(fresh)
    releases = [version for version in rising if version.is_release][-1:]
    return releases + [version for version in rising[-1:] if version not in releases]


def _announced(news: Iterable[Version], fresh: dict[Version, FeedEntry], line: Line) -> Iterable[Message]:
    """The announcements, the lowest first. Versions of the past that are only listed count as known before."""
    told = set(news)
    highest = {
        channel: max((version for version in (*line.known, *fresh.keys() - told) if version.channel == channel), default=None)
        for channel in ("release", "preview")
    }
    for version in sorted(told):
        previous, entry = highest[version.channel], fresh[version]
        newest = previous is None or version > previous
        yield EngineVersionAnnounced(
            version=str(version),
            channel=version.channel,
            newest=newest,
            previous=str(previous or ""),
            title=entry.title,
            link=entry.link,
            published_ms=entry.published_ms,
            written=entry.version,
        )
        highest[version.channel] = version if newest else previous


def _refused(entries: Iterable[FeedEntry], line: Line) -> Iterable[Message]:
    bad = dict.fromkeys(entry.version[:MAX_LENGTH] for entry in entries if parse(entry.version) is None)
    found = [text for text in bad if text not in line.refused][: MAX_REFUSED - len(line.refused)]
    if found:
        shown = ", ".join(ascii(text) for text in found[:_SHOWN])
        yield FeedEntriesRefused(found=found, reason=f"wanted {VERSION_RULE}; found {shown}: the entries are passed over, look at the feed")


def evolve(line: Line, event: Event) -> Line:
    """The line after the handler said `event`."""
    match event.data:
        case EngineVersionAnnounced() as it:
            return _knows(line, (it.version,))
        case EngineVersionsListed() as it:
            return _knows(line, it.versions)
        case FeedEntriesRefused() as it:
            return replace(line, refused=(*line.refused, *it.found)[-MAX_REFUSED:])
        case FeedOutageNoticed():
            return replace(line, outage=True)
        case FeedOutageEnded():
            return replace(line, outage=False)
        case _:
            return line


def _knows(line: Line, texts: Iterable[str]) -> Line:
    versions = sorted({*line.known, *filter(None, map(parse, texts))})
    kept = tuple(versions[-MAX_KNOWN:])
    return replace(line, known=kept, floor=versions[-MAX_KNOWN - 1] if len(versions) > MAX_KNOWN else line.floor)


def entities(event: Event) -> Sequence[str]:
    """A reading concerns the line it is about, if the edge says it."""
    return (event.entity,) if event.subsystem == EDGE else ()


uemonitor: Final = Handler(
    name="uemonitor",
    listens_to=(ReleaseFeedRead, ReleaseFeedFailed),
    emits=(EngineVersionAnnounced, EngineVersionsListed, FeedEntriesRefused, FeedOutageNoticed, FeedOutageEnded),
    initial=lambda entity: Line(),
    decide=decide,
    evolve=evolve,
    entities=entities,
)
