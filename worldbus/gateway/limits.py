"""The limits of one gateway, which hold whatever a token says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one gateway process. Seconds, bytes and counts."""

    connections: int = 2000  # open at once; beyond, the idlest give way, and where none is idle the next one is answered 503
    head_s: float = 10.0  # from the connection, or the first byte of a later request, to the end of the headers
    body_s: float = 20.0  # from the end of the headers to the end of the body
    idle_s: float = 75.0  # without a request, until a connection is closed
    line: int = 8190  # bytes of the request line, and of each header
    headers: int = 64
    body: int = 4 << 20  # of a batch; a single event may have 512 KiB as JSON, 256 KiB as protobuf
    batch: int = 1000  # events in one request
    answer_s: float = 20.0  # until a publish without an answer from the log is answered 503, outcome unknown
    heartbeat_s: float = 15.0  # between signs of life on a stream with nothing to say
    stall_s: float = 10.0  # that a reader of an answer or a stream may take nothing, until it is dropped
    stale_s: float = 60.0  # that the newest part of the log may be out of sight while ids are told apart (the log's own memory: 120 s)
    signals: int = 1000  # signals that wait for one slow reader, until it is dropped
