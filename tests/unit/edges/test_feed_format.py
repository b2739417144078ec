"""Release feeds in every form they come in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.uemonitor import MAX_ENTRIES
from handlers.versions import MAX_LENGTH, parse
from worldbus.edges.feed_format import MAX_ENTRY_BYTES, BadFeed, entries, moment, version_in

ATOM = b"""<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>Releases 1.0</title>
  <entry><id>tag:1</id><title>Unreal Engine 5.6.1 Released</title><updated>2025-07-01T10:00:00Z</updated>
    <link rel="self" href="https://example.org/self"/><link href="https://example.org/5.6.1"/>
    <author><title>9.9</title></author></entry>
  <entry><title>Unreal Engine 5.7 Preview 1</title></entry>
</feed>"""
RSS = b"""<rss version="2.0"><channel><title>News 2.0</title>
  <item><title>v4.4-rc2</title><link>https://example.org/rc</link><pubDate>Tue, 03 Jun 2025 00:00:00 GMT</pubDate></item>
  <item><title>We are hiring</title></item></channel></rss>"""


def told(content: bytes) -> list[tuple[str, str, str, int]]:
    return [(entry.version, entry.title, entry.link, entry.published_ms) for entry in entries(content)]


def test_our_own_form() -> None:
    release = {"version": "5.6", "title": "Summer", "link": "https://example.org/5.6", "published": "2025-06-03T00:00:00Z"}

    expected = [("5.6", "Summer", "https://example.org/5.6", 1_748_908_800_000)]
    assert expected == told(json.dumps({"releases": [release]}).encode())
    assert expected == told(b"\xef\xbb\xbf" + json.dumps([release]).encode())


def test_the_releases_of_github_without_drafts() -> None:
    content = [
        {
            "tag_name": "4.4-stable",
            "name": "4.4",
            "html_url": "https://example.org/4.4",
            "published_at": "2025-03-03T00:00:00Z",
            "draft": False,
        },
        {"tag_name": "v4.5", "name": None, "draft": True},
    ]

    assert told(json.dumps(content).encode()) == [("4.4", "4.4", "https://example.org/4.4", 1_740_960_000_000)]


def test_atom() -> None:
    assert told(ATOM) == [
        ("5.6.1", "Unreal Engine 5.6.1 Released", "https://example.org/5.6.1", 1_751_364_000_000),
        ("5.7 Preview 1", "Unreal Engine 5.7 Preview 1", "", 0),
    ]


def test_rss_and_an_entry_without_any_version() -> None:
    assert told(RSS) == [
        ("v4.4-rc2", "v4.4-rc2", "https://example.org/rc", 1_748_908_800_000),
        ("We are hiring", "We are hiring", "", 0),
    ]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Unreal Engine 5.10 is here", "5.10"),
        ("UE5.6: what is new", "5.6"),
        ("Version 5.6.0-preview-2 (build 12345)", "5.6.0-preview-2"),
        ("5 things to know about 5.6", "5.6"),
        ("10.20.30.40.50", ""),
        ("nothing", ""),
    ],
)
def test_a_version_is_found_in_a_title(text: str, version: str) -> None:
    assert version_in(text) == version


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\xff\xfe<\x00",
        b"{",
        b'{"releases": 3}',
        b"<rss>",
        b"<rss></atom>",
        b'<?xml version="1.0" encoding="tf-8"?><rss/>',
        b"[" * 100_000,
        b'{"a":' + b"9" * 5000,
    ],
)
def test_what_is_no_feed_is_named(content: bytes) -> None:
    with pytest.raises(BadFeed, match="wanted|none"):
        entries(content)


def test_entities_are_not_expanded() -> None:
    bomb = b'<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><rss><channel><item><title>&b;</title></item></channel></rss>'

    with pytest.raises(BadFeed, match="document type"):
        entries(bomb)


def test_a_long_feed_is_cut_to_what_fits_into_an_event() -> None:
    many = json.dumps([{"version": f"1.{number}"} for number in range(MAX_ENTRIES + 5)]).encode()
    fat = json.dumps([{"version": f"1.{number}", "title": "\N{OX}" * 300, "link": "x" * 900} for number in range(MAX_ENTRIES)]).encode()

    assert [entry.version for entry in entries(many)] == [f"1.{number}" for number in range(MAX_ENTRIES)]
    assert 0 < sum(entry.ByteSize() for entry in entries(fat)) <= MAX_ENTRY_BYTES


@given(
    st.binary(max_size=400)
    | st.sampled_from([ATOM, RSS]).flatmap(lambda feed: st.integers(0, len(feed)).map(lambda cut: feed[:cut] + feed[cut + 1 :]))
)
def test_any_bytes_are_entries_or_refused(content: bytes) -> None:
    try:
        found = entries(content)
    except BadFeed:
        return
    assert all(len(entry.version) <= MAX_LENGTH and entry.SerializeToString() is not None for entry in found)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["version", "title", "releases", "link", "published", "draft"]), inner)
        ),
    )
)
def test_any_json_is_entries_or_refused(value: object) -> None:
    try:
        found = entries(json.dumps(value).encode())
    except BadFeed:
        return
    assert len(found) <= MAX_ENTRIES


@given(st.text(max_size=40) | st.datetimes().map(str))
def test_any_text_is_a_moment_or_none(text: str) -> None:
    assert moment(text) >= 0


@given(st.text(max_size=200))
def test_what_is_found_in_a_title_is_a_version(text: str) -> None:
    found = version_in(text)

    assert not found or parse(found) is not None
