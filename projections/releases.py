"""Engine releases as tables: every version a feed told of, and feeds that cannot be read."""

from __future__ import annotations

from bus.event import Event
from projections.projection import Change, Projection, Table, sql_beside
from schemas.gen.worldbus.uemonitor.v1 import uemonitor_pb2 as said

RELEASES = Table("engine_releases", key=("world", "line", "version"))
FEEDS = Table("release_feeds", key=("world", "line"), adds=("announced", "outages", "refused"))


def announced(event: Event, it: said.EngineVersionAnnounced) -> list[Change]:
    release = RELEASES.put(
        *(event.world, event.entity, it.version),
        channel=it.channel, announced=True, newest=it.newest, title=it.title, link=it.link, told_at=event.time_ns,
        published_at=it.published_ms * 1_000_000 if it.published_ms else None,
    )  # fmt: skip
    newest = {f"newest_{it.channel}": it.version} if it.newest and it.channel in ("release", "preview") else {}
    return [release, FEEDS.put(event.world, event.entity, announced=1, **newest)]


def listed(event: Event, it: said.EngineVersionsListed) -> list[Change]:
    return [
        RELEASES.put(event.world, event.entity, version, channel="preview" if "-" in version else "release", told_at=event.time_ns)
        for version in it.versions
    ]


def refused(event: Event, it: said.FeedEntriesRefused) -> Change:
    return FEEDS.put(event.world, event.entity, refused=len(it.found), last_refused=list(it.found))


def outage(event: Event, it: said.FeedOutageNoticed) -> Change:
    return FEEDS.put(event.world, event.entity, readable=False, code=it.code, reason=it.reason, since=event.time_ns, outages=1)


def outage_ended(event: Event, _: said.FeedOutageEnded) -> Change:
    return FEEDS.put(event.world, event.entity, readable=True, code=None, reason=None, since=event.time_ns)


releases = Projection(
    name="releases",
    version=1,
    said_by="uemonitor",
    schema=sql_beside(__file__),
    tables=(RELEASES, FEEDS),
    on={
        said.EngineVersionAnnounced: announced,
        said.EngineVersionsListed: listed,
        said.FeedEntriesRefused: refused,
        said.FeedOutageNoticed: outage,
        said.FeedOutageEnded: outage_ended,
    },
)
