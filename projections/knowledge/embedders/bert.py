"""The forward pass of a BERT encoder with mean pooling, in NumPy: float32, no graph, no framework.

Shaped by what OpenBLAS is good at. A question has a dozen tokens, and a product of so few rows with a whole weight matrix spends its time
on packing the matrix. Products of at most 10^6 multiplications take a path without packing, so every matrix is cut into blocks of 384 x 64:
a question takes a third of the time, and a long batch as long as before. A batch is kept so small that a layer stays in the cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from projections.knowledge.embedders.embedder import Vectors, unit

Floats = npt.NDArray[np.float32]

EPSILON: Final = np.float32(1e-12)
ACROSS: Final = 64  # columns of a block of weights
DOWN: Final = 384  # rows of a block of weights
# tanh(x * polynomial of x²) is erf(x / √2) to 3e-6 of the activation; NumPy has tanh in vector instructions, and no erf.
_ERF: Final = tuple(np.float32(c) for c in (7.97828136e-01, 3.64687909e-02, -1.24861592e-04, -3.05810156e-05, 1.11908274e-06))


class Linear:
    """x @ weight + bias, with the weight in blocks."""

    def __init__(self, weight: Floats, bias: Floats) -> None:
        """`weight` as [inputs, outputs]; both multiples of the block, or one block."""
        inputs, outputs = weight.shape
        self._down = inputs // DOWN if inputs % DOWN == 0 else 1
        self._across = outputs // ACROSS if outputs % ACROSS == 0 else 1
        blocks = weight.reshape(self._down, inputs // self._down, self._across, outputs // self._across)
        self._blocks = np.ascontiguousarray(blocks.transpose(0, 2, 1, 3))
        self._bias = np.ascontiguousarray(bias)
        self._outputs = outputs

    def __call__(self, x: Floats) -> Floats:
        rows = len(x)
        out = np.empty((rows, self._outputs), np.float32)
        into = out.reshape(rows, self._across, -1).transpose(1, 0, 2)
        if self._down == 1:
            np.matmul(x, self._blocks[0], out=into)
        else:
            width = x.shape[1] // self._down
            np.matmul(x[:, :width], self._blocks[0], out=into)
            for part in range(1, self._down):
                into += np.matmul(x[:, part * width : (part + 1) * width], self._blocks[part])
        out += self._bias
        return out


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation, in place."""

    weight: Floats
    bias: Floats

    def __call__(self, x: Floats) -> Floats:
        x -= x.mean(axis=-1, keepdims=True)
        scale = np.einsum("ij,ij->i", x, x)
        scale /= np.float32(x.shape[1])
        scale += EPSILON
        np.sqrt(scale, out=scale)
        np.reciprocal(scale, out=scale)
        x *= scale[:, None]
        x *= self.weight
        x += self.bias
        return x


@dataclass(frozen=True, slots=True)
class Layer:
    """Attention, then the two-layer network behind it."""

    asked: Linear
    """Queries, keys and values at once; queries come scaled."""
    answered: Linear
    norm: Norm
    wide: Linear
    narrow: Linear
    """Takes twice the activation: its weights are halved."""
    last_norm: Norm


@dataclass(frozen=True, slots=True)
class Bert:
    """A whole encoder. Calls share nothing, so threads may call at once."""

    words: Floats
    places: Floats
    norm: Norm
    layers: tuple[Layer, ...]
    heads: int

    @classmethod
    def read(cls, tensors: Mapping[str, Floats], heads: int) -> Bert:
        """From tensors by the names that BertModel gives them."""
        places = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
        count = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("encoder.layer."))
        layers = tuple(_layer(tensors, f"encoder.layer.{number}.", heads) for number in range(count))
        return cls(tensors["embeddings.word_embeddings.weight"], places, _norm(tensors, "embeddings.LayerNorm."), layers, heads)

    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        """One vector of length 1 for each list of token ids: the mean over its tokens. Lists of like lengths make the best batch."""
        longest = max(map(len, texts))
        ids = np.zeros((len(texts), longest), np.int64)
        real = np.zeros((len(texts), longest), np.float32)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            real[row, : len(text)] = 1
        hidden = self._hidden(ids, real)
        return unit(np.matmul(real[:, None, :], hidden)[:, 0])

    def _hidden(self, ids: npt.NDArray[np.int64], real: Floats) -> Floats:
        texts, length = ids.shape
        x = self.words[ids]
        x += self.places[:length]
        x = self.norm(x.reshape(texts * length, -1))
        hidden_from = None if real.all() else np.where(real > 0, np.float32(0), np.float32(-1e30))[:, None, None, :]
        for layer in self.layers:
            x += layer.answered(_attend(layer.asked(x), texts, self.heads, hidden_from))
            layer.norm(x)
            x += layer.narrow(_twice_gelu(layer.wide(x)))
            layer.last_norm(x)
        return x.reshape(texts, length, -1)


def _attend(asked: Floats, texts: int, heads: int, hidden_from: Floats | None) -> Floats:
    rows, wide = asked.shape
    length, width = rows // texts, wide // 3 // heads
    queries, keys, values = asked.reshape(texts, length, 3, heads, width).transpose(2, 0, 3, 1, 4)
    scores = queries @ keys.transpose(0, 1, 3, 2)
    if hidden_from is not None:
        scores += hidden_from
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    out = np.empty((texts, length, heads, width), np.float32)
    into = out.transpose(0, 2, 1, 3)
    np.matmul(scores, values, out=into)
    into /= scores.sum(axis=-1, keepdims=True)
    return out.reshape(rows, heads * width)


def _twice_gelu(x: Floats) -> Floats:
    """x · (1 + erf(x / √2))."""
    squared = x * x
    p = squared * _ERF[-1]
    for coefficient in _ERF[-2:0:-1]:
        p += coefficient
        p *= squared
    p += _ERF[0]
    p *= x
    np.tanh(p, out=p)
    p += np.float32(1)
    p *= x
    return p


def _norm(tensors: Mapping[str, Floats], name: str) -> Norm:
    return Norm(tensors[f"{name}weight"], tensors[f"{name}bias"])


def _layer(tensors: Mapping[str, Floats], name: str, heads: int) -> Layer:
    def linear(part: str, times: float = 1.0) -> tuple[Floats, Floats]:
        factor = np.float32(times)
        return tensors[f"{name}{part}.weight"].T * factor, tensors[f"{name}{part}.bias"] * factor

    query = tensors[f"{name}attention.self.query.weight"]
    scaled = (query.shape[0] // heads) ** -0.5
    parts = [linear("attention.self.query", scaled), linear("attention.self.key"), linear("attention.self.value")]
    narrow, bias = linear("output.dense")
    return Layer(
        asked=Linear(np.concatenate([weight for weight, _ in parts], axis=1), np.concatenate([bias for _, bias in parts])),
        answered=Linear(*linear("attention.output.dense")),
        norm=_norm(tensors, f"{name}attention.output.LayerNorm."),
        wide=Linear(*linear("intermediate.dense")),
        narrow=Linear(narrow * np.float32(0.5), bias),
        last_norm=_norm(tensors, f"{name}output.LayerNorm."),
    )
