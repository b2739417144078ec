"""`GET` and `POST /v1/search`: the knowledge base, for what the token's audience may know.

The question goes to whoever serves `req.<world>.kb.search`, so that no embedding holds up events that are on their way in.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bus.errors import Rejected
from bus.subjects import check_token
from projections.knowledge.search import MOST, Answer, Mode, Query
from worldbus.gateway.grants import ANY
from worldbus.gateway.problem import Problem, later

if TYPE_CHECKING:
    from multidict import MultiMapping

    from bus.connection import Connection
    from worldbus.gateway.grants import Grant

TIMEOUT_S: Final = 5.0
AWAY_S: Final = 10.0  # after which it is worth asking again where nobody answers
LISTS: Final = ("tokens", "tags", "kinds")
NUMBERS: Final = ("most", "as_of")


class Question(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A question as it may be asked. `tokens` are those that ask, of the token's audience; left out, all of them."""

    text: str
    world: str = ""
    tokens: list[str] | None = None
    mode: Mode = "hybrid"
    most: int = 5
    as_of: int | None = None
    tags: list[str] = []
    kinds: list[str] = []
    owner: str = ""
    asker: str = ""


_BODY: Final = msgspec.json.Decoder(Question)


def of_body(body: bytes) -> Question:
    """The question of a POST. Raises `Problem`."""
    try:
        return _BODY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "BAD_QUERY", f"wanted a question as a JSON object with text, found {error}") from error


def of_query(query: MultiMapping[str]) -> Question:
    """The question of a GET; lists are separated by commas, or given several times. Raises `Problem`."""
    fields: dict[str, Any] = {}
    for name in dict.fromkeys(query):
        words = query.getall(name)
        if name in LISTS:
            fields[name] = [word for one in words for word in one.split(",") if word]
        elif len(words) > 1:
            raise Problem(400, "BAD_QUERY", f"wanted one {ascii(name)[:40]}, found {len(words)}: which one counts?")
        else:
            fields[name] = words[0]
    try:
        return msgspec.convert(fields, Question, strict=False)
    except msgspec.ValidationError as error:
        raise Problem(400, "BAD_QUERY", f"wanted a question as ?text=…, found {error}") from error


def permitted(question: Question, grant: Grant) -> Query:
    """The question as this token may ask it. Raises a 400 or 403 problem."""
    world = question.world or grant.only_world
    if not world:
        raise Problem(400, "WORLD_MISSING", "wanted a world, found none, and this token may see several: name the one that is meant")
    if not grant.sees(world):
        raise Problem(
            403, "WORLD_NOT_ALLOWED", f"wanted a world of this token, found {ascii(world)[:80]}: use its own, or ask for another grant"
        )
    everything = ANY in grant.audience
    tokens = question.tokens if question.tokens is not None else ["public"] if everything else list(grant.audience)
    beyond = [] if everything else [one for one in tokens if one not in grant.audience]
    if beyond:
        allowed = ", ".join(grant.audience) or "none"
        raise Problem(
            403, "AUDIENCE_NOT_ALLOWED", f"wanted tokens of {allowed}, found {ascii(beyond[0])[:80]}: this token does not speak for them"
        )
    try:
        check_token(world, "world")
        if question.owner:
            check_token(question.owner, "owner")
    except Rejected as error:
        raise Problem(400, error.code, str(error)) from error
    if not 1 <= question.most <= MOST:
        raise Problem(400, "BAD_QUERY", f"wanted most from 1 to {MOST}, found {question.most}")
    return Query(
        world=world,
        text=question.text,
        tokens=tuple(tokens),
        mode=question.mode,
        tags=tuple(question.tags),
        kinds=tuple(question.kinds),
        owner=question.owner,
        most=question.most,
        as_of=question.as_of,
    )


async def search(connection: Connection, question: Question, grant: Grant) -> dict[str, Any]:
    """The answer as a document. Who else may know of it is nobody's business. Raises `Problem`, `Rejected` or `Transient`."""
    from worldbus.edges.search import NobodyServes, ask

    query = permitted(question, grant)
    try:
        found: Answer = await ask(connection, query, asker=question.asker, timeout=TIMEOUT_S)
    except NobodyServes as error:
        raise later(503, error.code, str(error), AWAY_S) from error
    document = asdict(found)
    for hit in document["hits"]:
        del hit["audience"]
    return document
