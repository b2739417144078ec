"""One connection to NATS: nats-py for the handshake, TLS, authentication and reconnects; our own parsing and writing on the hot path.

nats-py spends 40-65 µs on each message (a queue, a task switch, a header dictionary, a copy of the read buffer); the log needs none of
them. So `_Client` replaces its parser with one that walks a whole read in one loop and calls a plain function per message, and writes go
out joined, once per turn of the event loop. Both touch private names of nats-py (`_ps`, `_pending`, `_transport`, `_process_msg`): the
version is pinned and tests/integration/bus/test_connection.py fails when they change.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeVar, cast

import structlog

from bus.api import START_S, ApiError, heedful, retried
from bus.errors import Disconnected, MissingExtra, Misuse, PermissionDenied, Transient, Unknown
from bus.event import new_id
from bus.lean import without

with without("aiohttp", "multidict"):  # for WebSocket alone, and two thirds of what importing nats-py costs
    import nats.errors
    from nats.aio import transport
    from nats.aio.client import Client
    from nats.protocol.parser import Parser

__all__ = ["ApiError", "Callback", "Callbacks", "Connection", "Listener", "connect", "hpub", "pub"]

Callback = Callable[[bytes, bytes, bytes | None, bytes], None]
"""(subject, reply, header block or None, payload), called in arrival order on the event loop; it must not block and must not raise."""

T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., None])
LISTEN_S: Final = 60.0  # for a server that answers late, until a subscription is given up
ROUND_TRIP_S: Final = 10.0

log = structlog.get_logger(__name__)
_CRLF = 2


class _Parser(Parser):
    """nats-py's parser interface over a single pass through each read."""

    def __init__(self, client: _Client) -> None:
        super().__init__(client)
        self.client = client
        self.rest = b""

    def reset(self) -> None:
        super().reset()
        self.rest = b""

    async def parse(self, data: bytes = b"") -> None:
        buffer = self.rest + data if self.rest else bytes(data)
        position, end = 0, len(buffer)
        listeners, find = self.client.listeners, buffer.find
        while position < end:
            line_end = find(b"\r\n", position)
            if line_end < 0:
                break
            kind = buffer[position]
            if kind == 77 or kind == 72:  # MSG subject sid [reply] size | HMSG subject sid [reply] header-size size
                words = buffer[position:line_end].split()
                size = int(words[-1])
                start = line_end + _CRLF
                if start + size + _CRLF > end:
                    break
                head = int(words[-2]) if kind == 72 else 0
                reply = words[3] if len(words) == (6 if head else 5) else b""
                position = start + size + _CRLF
                header = buffer[start : start + head] if head else None
                payload = buffer[start + head : start + size]
                callback = listeners.get(words[2])
                if callback is None:
                    await self.client._process_msg(int(words[2]), words[1], reply, payload, cast(bytes, header))
                else:
                    try:
                        callback(words[1], reply, header, payload)
                    except Exception:
                        # A listener's bug must not end the read loop, which every other listener shares.
                        log.exception("listener_failed", subject=words[1].decode(errors="replace"))
                continue
            line = buffer[position:line_end]
            position = line_end + _CRLF
            await self._control(line)
        self.rest = buffer[position:] if position < end else b""

    async def _control(self, line: bytes) -> None:
        word = line[:4].upper()
        if word == b"PING":
            await self.client._process_ping()
        elif word == b"PONG":
            await self.client._process_pong()
        elif word == b"INFO":
            await self.client._process_info(json.loads(line[5:]))
        elif word == b"-ERR":
            await self.client._process_err(line[5:].decode(errors="replace").lower())
        elif word[:3] != b"+OK":
            raise nats.errors.ProtocolError(f"nats: unknown protocol line {line[:40]!r}")


class _Client(Client):
    """nats-py's client with listeners that are called straight from the parser."""

    def __init__(self) -> None:
        super().__init__()
        self.listeners: dict[bytes, Callback] = {}
        self._ps = _Parser(self)

    async def _process_pong(self) -> None:
        # nats-py answers whoever flushed, also one who was cancelled or no longer waits: the error would end its read loop, and leave a
        # connection that hears nothing until its own pings notice.
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _process_err(self, err_msg: str) -> None:
        # nats-py closes for good on any -ERR it does not know ("maximum control line exceeded"): one bad message would end the process. The
        # server has closed the socket, so reconnecting is right; authorization and permission errors keep nats-py's own handling.
        if "authorization" in err_msg or "permissions violation" in err_msg or "stale connection" in err_msg:
            await super()._process_err(err_msg)
            return
        log.error("server_error", error=err_msg.strip("'"))
        await self._process_op_err(nats.errors.Error(f"nats: {err_msg}"))


class Callbacks(list[C]):
    """Functions to be called when something happens to the connection, in the order in which they were added."""

    def discard(self, callback: C) -> None:
        """Call it no more; what failed half way through its opening was never there."""
        if callback in self:
            self.remove(callback)


class Listener:
    """A subscription whose callback runs inside the parser. Survives reconnects."""

    def __init__(self, client: _Client, subscription: Any) -> None:
        self._client = client
        self._subscription = subscription

    async def close(self) -> None:
        """Stop listening; nothing is delivered afterwards."""
        self._client.listeners.pop(str(self._subscription._id).encode(), None)
        try:
            if self._client.is_connected:
                await self._subscription.unsubscribe()
        except nats.errors.Error as error:  # the connection ended meanwhile: nothing more comes either
            log.debug("unsubscribe_failed", error=str(error))
        finally:
            self._client._subs.pop(self._subscription._id, None)


class Connection:
    """A connection with reconnects. `write` never waits; what was written while the link broke is lost, and its owner resends it."""

    def __init__(self, client: _Client, name: str) -> None:
        self._client = client
        self._kicked = False
        self.another: Callable[[str], AbstractAsyncContextManager[Connection]]
        """Opens another connection to the same server, under a name of its own; also on another event loop."""
        self.name = name
        self.inbox = f"_INBOX.{new_id()}"
        self.on_disconnect: Callbacks[Callable[[], None]] = Callbacks()
        self.on_reconnect: Callbacks[Callable[[], None]] = Callbacks()
        self.on_denied: Callbacks[Callable[[str], None]] = Callbacks()
        self.closed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._inboxes = 0

    def new_inbox(self) -> str:
        """A subject that only this connection listens to; each call gives another one."""
        self._inboxes += 1
        return f"{self.inbox}.{self._inboxes}"

    @property
    def server_id(self) -> str:
        """Identity of the server that this connection speaks with at the moment."""
        return str(self._client._server_info.get("server_id", ""))

    @property
    def connected(self) -> bool:
        return bool(self._client.is_connected)

    @property
    def max_payload(self) -> int:
        """Largest message in bytes, headers included, that the server takes."""
        return int(self._client.max_payload)

    def write(self, frames: bytes) -> None:
        """Send ready-made protocol frames at the end of this turn of the event loop, joined with whatever else is written in it.

        Raises `Disconnected` when there is no connection; then nothing was sent.
        """
        client = self._client
        if not client.is_connected:
            raise Disconnected(f"connection {self.name!r} to NATS is down and reconnecting: retry")
        client._pending.append(frames)
        client._pending_data_size += len(frames)
        if not self._kicked:
            self._kicked = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._kicked = False
        client = self._client
        if client.is_connected and client._pending and client._transport is not None:
            pending, client._pending, client._pending_data_size = client._pending, [], 0
            client._transport.writelines(pending)

    @property
    def unsent(self) -> int:
        """Bytes that wait in the socket's write buffer: the measure for back-pressure."""
        writer = getattr(self._client._transport, "_io_writer", None)
        return cast(int, writer.transport.get_write_buffer_size()) if writer is not None else 0

    async def drain(self) -> None:
        """Wait until the socket takes more."""
        self._flush()
        if self._client._transport is not None and self.connected:
            await cast(Any, self._client._transport).drain()

    async def listen(self, subject: str, callback: Callback, *, queue: str = "") -> Listener:
        """Call `callback` for every message on `subject`, in arrival order. Raises `PermissionDenied` within the round trip."""
        refused: list[str] = []
        note = refused.append
        self.on_denied.append(note)
        try:
            subscription = await self._client.subscribe(subject, queue=queue)  # no callback, so no task: the parser calls ours
            self._client.listeners[str(subscription._id).encode()] = callback
            listener = Listener(self._client, subscription)
            # Twice: nats-server 2.15.1 often answers the first PING before it refuses the subscription that was sent ahead of it.
            try:
                await self._round_trip()
                await self._round_trip()
            except BaseException:  # nobody would close it
                await listener.close()
                raise
        except nats.errors.Error as error:
            raise Disconnected(f"cannot listen on {subject}: {error}") from error
        finally:
            self.on_denied.discard(note)
        for reason in refused:
            if subject.lower() in reason:
                await listener.close()
                raise PermissionDenied(f"these credentials may not subscribe to {subject}: grant it or use others", subject=subject)
        return listener

    async def _round_trip(self) -> None:
        """Wait until the server has read what was sent before; one that is busy, away or on a slow machine gets a minute."""
        until = self._loop.time() + LISTEN_S
        while True:
            try:
                return await heedful(self._client.flush(cast(int, ROUND_TRIP_S)))
            except nats.errors.Error:
                if self.closed.is_set() or self._loop.time() > until:
                    raise
                log.warning("server_slow", connection=self.name)
                await asyncio.sleep(0.1)

    async def request(self, subject: str, payload: bytes = b"", *, timeout: float = 5.0) -> bytes:
        """One request, one answer. For the API, not for the hot path."""
        spoiled: asyncio.Future[Any] = self._loop.create_future()

        def on_denied(reason: str) -> None:
            if subject.lower() in reason and not spoiled.done():
                spoiled.set_result(PermissionDenied(f"these credentials may not publish {subject}: {reason}", subject=subject))

        def on_disconnect() -> None:
            if not spoiled.done():
                spoiled.set_result(Unknown(f"the connection broke before the answer on {subject}", subject=subject))

        self.on_denied.append(on_denied)
        self.on_disconnect.append(on_disconnect)
        answer: asyncio.Future[Any] = asyncio.ensure_future(self._client.request(subject, payload, timeout=timeout))
        try:
            await asyncio.wait({answer, spoiled}, return_when=asyncio.FIRST_COMPLETED)
            if spoiled.done() and not answer.done():
                raise spoiled.result()
            return cast(bytes, (await answer).data)
        except nats.errors.NoRespondersError as error:
            raise Transient(f"nobody answers on {subject}: is JetStream enabled there?", subject=subject) from error
        except (nats.errors.TimeoutError, TimeoutError) as error:
            raise Unknown(f"no answer on {subject} within {timeout} s", subject=subject) from error
        except nats.errors.Error as error:
            raise Disconnected(f"request to {subject} failed: {error}", subject=subject) from error
        finally:
            self.on_denied.discard(on_denied)
            self.on_disconnect.discard(on_disconnect)
            answer.cancel()
            spoiled.cancel()

    async def api(self, verb: str, body: dict[str, Any] | None = None, *, timeout: float = 5.0) -> dict[str, Any]:
        """A JetStream API call; raises `ApiError` with the server's `err_code`."""
        raw = await self.request(f"$JS.API.{verb}", json.dumps(body).encode() if body is not None else b"", timeout=timeout)
        answer = cast(dict[str, Any], json.loads(raw))
        if "error" in answer:
            raise ApiError(verb, answer["error"])
        return answer

    async def make(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask like `api`, and try again while the server is away or answers late: for requests that may be made twice."""
        return await retried(lambda: self.api(verb, body), START_S)

    async def aclose(self) -> None:
        """Close now; unsent frames are dropped."""
        self._flush()
        if not self._client.is_connected:
            self._client._pending, self._client._pending_data_size = [], 0  # nats-py would write them to the closed socket
        await self._client.close()


@asynccontextmanager
async def connect(url: str, *, name: str, connect_timeout: float = 5.0, **options: Any) -> AsyncIterator[Connection]:
    """Open a connection for the block; it reconnects for ever while the block runs.

    Raises `Misuse` when the first connection fails (wrong address, wrong credentials).
    """
    if url.startswith(("ws:", "wss:")):
        _allow_websocket()
    client = _Client()
    connection = Connection(client, name)
    connection.another = lambda name: connect(url, name=name, connect_timeout=connect_timeout, **options)

    last: list[Exception] = []

    async def on_error(error: Exception) -> None:
        last[:] = [error]
        text = str(error).lower()
        if "permissions violation" in text:
            for callback in list(connection.on_denied):
                callback(text)
        else:
            log.debug("nats_error", error=str(error) or type(error).__name__, connection=name)

    async def on_disconnect() -> None:
        if not client.is_closed:
            log.warning("nats_disconnected", connection=name)
        # Half-written frames must not be sent again by nats-py after the reconnect: their owners decide.
        client._pending, client._pending_data_size = [], 0
        for callback in list(connection.on_disconnect):
            callback()

    async def on_reconnect() -> None:
        log.info("nats_reconnected", connection=name)
        for callback in list(connection.on_reconnect):
            callback()

    async def on_closed() -> None:
        connection.closed.set()

    try:
        await heedful(
            client.connect(
                url,
                name=name,
                error_cb=on_error,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
                closed_cb=on_closed,
                allow_reconnect=False,  # the first connection succeeds or fails; nats-py would try for ever
                max_reconnect_attempts=1,
                ping_interval=5,
                max_outstanding_pings=2,
                pending_size=64 << 20,
                inbox_prefix=b"_INBOX",
                **{"connect_timeout": connect_timeout, "reconnect_time_wait": 0.1, **options},
            )
        )
    except asyncio.CancelledError:
        await client.close()
        raise
    except (nats.errors.Error, OSError, TimeoutError) as error:
        await client.close()
        cause = last[0] if last else error
        shown = re.sub(r"//[^@/]*@", "//", url)  # without the password
        raise Misuse(
            f"cannot connect to NATS at {shown}: {str(cause) or type(cause).__name__}; start it, or give another address or credentials",
            url=shown,
        ) from error
    client.options |= {"allow_reconnect": True, "max_reconnect_attempts": -1}
    try:
        yield connection
    finally:
        await connection.aclose()


def _allow_websocket() -> None:
    """Give nats-py what was kept from it when it was imported. Raises `MissingExtra`."""
    try:
        import aiohttp
        import multidict
    except ModuleNotFoundError as error:
        raise MissingExtra.of("NATS over WebSocket", ("gateway",), ("aiohttp",), "name the server by nats:// or tls://") from error

    vars(transport).update(aiohttp=aiohttp, multidict=multidict)


def pub(subject: bytes, reply: bytes, payload: bytes) -> bytes:
    """A PUB frame."""
    return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(payload), payload)


def hpub(subject: bytes, reply: bytes, header: bytes, payload: bytes) -> bytes:
    """An HPUB frame; `header` is the whole block, from `NATS/1.0` to the empty line."""
    return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject, reply, len(header), len(header) + len(payload), header, payload)
