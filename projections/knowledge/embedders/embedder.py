"""The seam between the knowledge base and models that turn text into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bus.errors import Transient

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]
else:
    Vectors = Any  # whoever asks, by words or over the bus, needs no NumPy: it is of the extra `knowledge`
"""One row per text, of length 1: the inner product of two is the cosine of their angle."""

Kind = Literal["query", "passage"]


class EmbedderFailed(Transient):
    """No vectors came back: the endpoint is away, slow, or answered with something else."""

    code = "EMBEDDER_FAILED"


class Embedder(Protocol):
    """A model. Vectors of two models cannot be compared, so `model` names everything that a vector depends on but the text."""

    @property
    def model(self) -> str:
        """Id of the model; vectors are kept under it."""

    @property
    def dimension(self) -> int:
        """The number of components of a vector."""

    @property
    def query_prefix(self) -> str:
        """The prefix that the model wants before a question."""

    @property
    def passage_prefix(self) -> str:
        """The prefix that the model wants before a passage."""

    async def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        """The vectors of `texts`, in their order. The same text gives the same vector, whatever stands beside it, within rounding.

        Queries do not wait behind passages. Raises `EmbedderFailed`.
        """

    async def aclose(self) -> None:
        """Give back threads and connections."""


def unit(vectors: Vectors) -> Vectors:
    """Each row at length 1; a row of zeros stays, and is near to nothing."""
    import numpy as np

    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    divided: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return divided
