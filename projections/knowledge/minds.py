"""Memories of characters, ready to be searched: those of one character as arrays, brought up to date before each question.

A memory's score is

    relevance + 1/4 importance + 1/4 recency + 1/10 if it is about who speaks

after Park et al., "Generative Agents: Interactive Simulacra of Human Behavior" (UIST 2023), where the same three are summed up. Relevance
is the cosine of question and memory, or, if that is more, 4/5 of the share of the question's words that the memory has, each word counted
by its rarity among the character's memories: a model of meaning knows no names. Importance is the salience it began with. Recency is 0.995
to the power of the world hours since then, as in the paper. Unlike there nothing is stretched to fill 0 to 1 among the candidates: then the
best of ten thousand irrelevant memories would look perfect. Relevance below a sixth does not count as being reminded.

The arrays are a cache of the projection `knowledge` and nothing else: they hold every memory with the positions at which it began and
ended, so one and the same mind answers questions about now and about the past.
"""

from __future__ import annotations

import asyncio
import math
import re
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import asyncpg
import numpy as np
import numpy.typing as npt

from projections.knowledge.embedders import Vectors

IMPORTANCE: Final = 0.25
RECENCY: Final = 0.25
ABOUT_THEM: Final = 0.1
WORDS: Final = 0.8
LEAST_RELEVANCE: Final = 1 / 6
DECAY: Final = 0.995  # per world hour
HOUR_MS: Final = 3_600_000
FOREVER: Final = 2**62
AT_ONCE: Final = 250  # rows
MAX_BYTES: Final = 256 * 1024 * 1024  # of all minds in memory
_WORD: Final = re.compile(r"[^\W_]{2,32}")
_CHANGED: Final = """
    SELECT p.id, p.body, p.tags, p.player, p.salience, p.formed_ms, p.added, p.ended, p.content_hash, p.position,
           public.halfvec_send(e.vector) AS vector
      FROM world.passages p LEFT JOIN worldbus.embeddings e ON e.model = $3 AND e.content_hash = p.content_hash
     WHERE p.world = $1 AND p.owner = $2 AND p.owner <> '' AND p.kind = 'memory' AND (p.position > $4 OR p.id = ANY($5))
     ORDER BY p.position
"""
_STRANGERS: Final = "SELECT player, since FROM world.strangers WHERE world = $1 AND owner = $2"

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class Asked(NamedTuple):
    """A question to a mind: as of `position`, at the world time `world_ms`."""

    words: str
    vector: Vectors | None
    position: int
    world_ms: int
    player: str = ""
    most: int = 5
    exclude: frozenset[str] = frozenset()


class Recalled(NamedTuple):
    """One memory that came to mind, and how its score came about."""

    id: str
    text: str
    kind: str
    player: str
    content_hash: str
    added: int
    score: float
    relevance: float
    importance: float
    recency: float


class _Memory(NamedTuple):
    id: str
    body: str
    kind: str
    player: str
    content_hash: str


def terms(text: str) -> frozenset[str]:
    """The words of a text, without case."""
    return frozenset(_WORD.findall(text.casefold()))


class Mind:
    """The memories of one character under one model. Belongs to one event loop."""

    def __init__(self, dimension: int) -> None:
        self.seen = 0
        """Position up to which its rows are taken in."""
        self.lock = asyncio.Lock()
        self._rows: list[_Memory] = []
        self._places: dict[str, int] = {}
        self._terms: dict[str, array[int]] = {}
        self._players: dict[str, list[int]] = {}
        self._blank: set[str] = set()
        self._vectors: Floats = np.zeros((64, dimension), np.float32)
        self._facts: Integers = np.zeros((4, 64), np.int64)  # salience, formed_ms, added, ended

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def bytes(self) -> int:
        """About how much memory it takes."""
        return self._vectors.nbytes + self._facts.nbytes + 600 * len(self._rows)

    @property
    def blank(self) -> list[str]:
        """Memories whose vector has not been computed yet."""
        return list(self._blank)

    def take(self, rows: Iterable[Any]) -> None:
        """Take in rows of `passages`, new ones and changed ones."""
        for row in rows:
            place = self._places.get(row["id"])
            if place is None:
                place = self._begin(row)
            self._facts[:, place] = (row["salience"], row["formed_ms"], row["added"] or FOREVER, row["ended"] or FOREVER)
            if row["vector"] is None:
                self._blank.add(row["id"])
            elif row["id"] in self._blank or not self._vectors[place].any():
                self._vectors[place] = np.frombuffer(row["vector"], ">f2", offset=4)
                self._blank.discard(row["id"])
            self.seen = max(self.seen, row["position"])

    def _begin(self, row: Any) -> int:
        place = len(self._rows)
        if place == len(self._vectors):
            self._vectors = np.concatenate([self._vectors, np.zeros_like(self._vectors)])
            self._facts = np.concatenate([self._facts, np.zeros_like(self._facts)], axis=1)
        self._rows.append(_Memory(row["id"], row["body"], (row["tags"] or [""])[0], row["player"], row["content_hash"]))
        self._places[row["id"]] = place
        self._players.setdefault(row["player"], []).append(place)
        for term in terms(row["body"]):
            self._terms.setdefault(term, array("q")).append(place)
        return place

    def recall(self, asked: Asked, strangers: Sequence[tuple[str, int]] = ()) -> list[Recalled]:
        """The memories that a question brings to mind, best first."""
        count = len(self._rows)
        if not count:
            return []
        salience, formed, added, ended = self._facts[:, :count]
        relevance = self._relevance(asked, count)
        importance = salience / 1000
        recency = DECAY ** (np.maximum(asked.world_ms - formed, 0) / HOUR_MS)
        score = relevance + IMPORTANCE * importance + RECENCY * recency
        score[self._about(asked.player)] += ABOUT_THEM
        known = (added <= asked.position) & (ended > asked.position) & (relevance >= LEAST_RELEVANCE)
        known[[self._places[one] for one in asked.exclude if one in self._places]] = False
        for player, since in strangers:
            if since <= asked.position:
                known[[place for place in self._about(player) if added[place] < since]] = False
        places = np.flatnonzero(known)
        if len(places) > asked.most:
            places = places[np.argpartition(-score[places], asked.most - 1)[: asked.most]]
        best = sorted(places.tolist(), key=lambda place: (-score[place], -added[place]))
        return [self._recalled(place, float(score[place]), float(relevance[place]), float(recency[place])) for place in best]

    def _recalled(self, place: int, score: float, relevance: float, recency: float) -> Recalled:
        row, (salience, _, added, _) = self._rows[place], self._facts[:, place].tolist()
        return Recalled(row.id, row.body, row.kind, row.player, row.content_hash, added, score, relevance, salience / 1000, recency)

    def _relevance(self, asked: Asked, count: int) -> Floats:
        wanted = {term: self._terms[term] for term in terms(asked.words) if term in self._terms}
        missing = len(terms(asked.words)) - len(wanted)
        rarity = {term: math.log1p(count / len(places)) for term, places in wanted.items()}
        whole = sum(rarity.values()) + missing * math.log1p(count)
        shared = np.zeros(count, np.float32)
        for term, places in wanted.items():
            shared[np.frombuffer(places, np.int64)] += WORDS * rarity[term] / whole
        if asked.vector is None:
            return shared
        nearness: Floats = self._vectors[:count] @ asked.vector
        return np.maximum(shared, nearness)

    def _about(self, player: str) -> list[int]:
        """The places of memories about a player."""
        return self._players.get(player, []) if player else []


class Ready(NamedTuple):
    """A mind that is up to date, and whom it has forgotten since when."""

    mind: Mind
    strangers: Sequence[tuple[str, int]]

    def recall(self, asked: Asked) -> list[Recalled]:
        """The memories that a question brings to mind, best first."""
        return self.mind.recall(asked, self.strangers)


class Minds:
    """The minds that were asked last, within `max_bytes`. One per process; forgetting a mind costs its next question some time."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._minds: OrderedDict[tuple[str, str, str], Mind] = OrderedDict()

    async def ready(self, connection: asyncpg.Connection, world: str, owner: str, *, model: str, dimension: int) -> Ready:
        """A character's mind as the tables have it now; memories without a vector of `model` yet are found by their words."""
        mind = self._minds.setdefault((world, owner, model), Mind(dimension))
        self._minds.move_to_end((world, owner, model))
        async with mind.lock:
            rows = await connection.fetch(_CHANGED, world, owner, model, mind.seen, mind.blank)
            for first in range(0, len(rows), AT_ONCE):
                mind.take(rows[first : first + AT_ONCE])
                await asyncio.sleep(0)  # a mind that is read for the first time holds nobody else up
        strangers = [(row["player"], row["since"]) for row in await connection.fetch(_STRANGERS, world, owner)]
        self._make_room(mind)
        return Ready(mind, strangers)

    def _make_room(self, asked: Mind) -> None:
        whole = sum(mind.bytes for mind in self._minds.values())
        while whole > self._max_bytes and len(self._minds) > 1:
            key, oldest = next(iter(self._minds.items()))
            if oldest is asked:
                return
            whole -= oldest.bytes
            del self._minds[key]
