"""`GET /v1/signals`: what is worth knowing only now, such as the words of a line while they are spoken. Never stored, so never replayed."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from bus.errors import Rejected
from bus.signals import listen
from bus.subjects import SIGNAL_ROOT, check_token
from handlers.time_manager import CLOCK
from schemas.gen.worldbus.inference.v1.types_pb2 import TokensDelivered
from schemas.gen.worldbus.time.v1.types_pb2 import PresentMoment
from worldbus.gateway.problem import Problem
from worldbus.gateway.stream import ReaderGone, Stream

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from multidict import MultiMapping

    from bus.connection import Connection
    from worldbus.gateway.grants import Grant
    from worldbus.gateway.limits import Limits

TOKENS: Final = "tokens"  # `sig.<world>.tokens.<request>`: the words of an answer
ALIVE: Final = b": alive\n\n"
KNOWN: Final = frozenset({"world", "topic"})


def pattern(query: MultiMapping[str], grant: Grant) -> str:
    """The signals that are meant: `sig.<world>.<topic>`, where `topic` is tokens with dots between them, `*` for any, `>` for all behind.

    Raises `Problem`.
    """
    unknown = sorted({name for name in query if name not in KNOWN})
    if unknown:
        raise Problem(
            400, "UNKNOWN_PARAMETER", f"wanted world and topic, found {', '.join(ascii(one)[:40] for one in unknown[:5])}: leave it out"
        )
    world = query.get("world") or grant.only_world
    if not world:
        raise Problem(400, "WORLD_MISSING", "wanted world=<name>, found none, and this token may see several: name the one that is meant")
    topic = query.get("topic", f"{TOKENS}.*").split(".")
    try:
        check_token(world, "world")
        for index, token in enumerate(topic):
            if token != "*" and not (token == ">" and index == len(topic) - 1):
                check_token(token, "topic")
    except Rejected as error:
        raise Problem(400, error.code, str(error)) from error
    if not grant.sees(world):
        raise Problem(403, "WORLD_NOT_ALLOWED", f"wanted a world of this token, found {world!r}: use its own, or ask for another grant")
    whole = ".".join((SIGNAL_ROOT, world, *topic))
    if len(whole) > 255:
        raise Problem(
            400,
            "BAD_SUBJECT",
            f"wanted a topic of at most {255 - len(SIGNAL_ROOT) - len(world) - 2} characters, found {len('.'.join(topic))}",
        )
    return whole


async def follow(connection: Connection, stream: Stream, subject: str, limits: Limits, closing: asyncio.Event) -> None:
    """Send signals as they come. A reader with too many of them waiting is told so and dropped."""
    waiting: asyncio.Queue[bytes | None] = asyncio.Queue(limits.signals + 1)

    def receive(subject: str, payload: bytes) -> None:
        if waiting.qsize() < limits.signals:
            waiting.put_nowait(block(subject, payload))
        elif not waiting.full():
            waiting.put_nowait(None)

    listener = await listen(connection, subject, receive)
    end = asyncio.ensure_future(closing.wait())
    try:
        await stream.open()
        await stream.write(ALIVE)
        while not closing.is_set():
            got = asyncio.ensure_future(waiting.get())
            await asyncio.wait((got, end), timeout=limits.heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
            if not await stream.end_unless_granted():
                got.cancel()
                return None
            if not got.done():
                got.cancel()
                if not closing.is_set():
                    await stream.write(ALIVE)
            elif (found := got.result()) is None:
                return await stream.end("SLOW", f"more than {limits.signals} signals waited for this reader: some were lost, come again")
            else:
                await stream.write(found)
        await stream.end("SHUTTING_DOWN", "the gateway stops: come again")
    except ReaderGone:
        return None
    finally:
        end.cancel()
        await listener.close()


def block(subject: str, payload: bytes) -> bytes:
    """A signal as a block: its subject, and `data` as JSON where its form is known, else `base64`."""
    found: dict[str, Any] = {"subject": subject}
    kind = _kind(subject.split("."))
    if kind is not None:
        try:
            said = kind.FromString(payload)
            found["data"] = json_format.MessageToDict(said, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        except DecodeError:
            pass
    if "data" not in found:
        found["base64"] = base64.b64encode(payload).decode()
    return f"data: {json.dumps(found, ensure_ascii=False)}\n\n".encode(errors="replace")


def _kind(tokens: list[str]) -> type[Message] | None:
    """The form of a signal that has a known one."""
    match tokens:
        case [_, _, topic, _] if topic == TOKENS:
            return TokensDelivered
        case [_, _, topic] if topic == CLOCK:
            return PresentMoment
        case _:
            return None
