"""The nearness of two texts that have nothing to do with each other, by a model: from there nearness counts.

Models differ in it more than in anything else: for one such texts are at right angles, for another nearly the same. The mean over sentences
of sixteen walks of life, each a question to the others, puts models on one scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from projections.knowledge.embedders import Embedder
from projections.knowledge.embedders.embedder import unit

if TYPE_CHECKING:
    from asyncpg import Connection

ASKED: Final = (
    "Where does the baker buy flour?",
    "How do whales sleep?",
    "Which key starts the engine?",
    "Who wrote the first violin concerto?",
    "What does a visa for three months cost?",
    "Why did the bridge collapse?",
    "When are the elections?",
    "How is a broken arm treated?",
)
TOLD: Final = (
    "The goalkeeper caught the ball and the crowd went home happy.",
    "Frost killed the vines on the northern slope last spring.",
    "A password has at least twelve characters and is kept in a vault.",
    "Her grandmother knitted socks of grey wool for the whole family.",
    "Mercury is the smallest planet and has no moon.",
    "The tenant pays the deposit before moving into the flat.",
    "Potters fire the glaze at a thousand degrees.",
    "Trains to the coast leave from platform nine on Sundays.",
)
_UNKNOWN: Final = "SELECT EXISTS (SELECT FROM worldbus.embedding_models WHERE model = $1 AND unlike IS NULL)"


async def measure(connection: Connection, embedder: Embedder) -> None:
    """Put it on record for the embedder's model, once. Raises `EmbedderFailed`."""
    if await connection.fetchval(_UNKNOWN, embedder.model):
        asked, told = unit(await embedder.embed(ASKED, "query")), unit(await embedder.embed(TOLD, "passage"))
        unlike = float((asked @ told.T).mean())
        await connection.execute("UPDATE worldbus.embedding_models SET unlike = $2 WHERE model = $1", embedder.model, unlike)
