"""Folders that vLLM takes for models of a stated shape: Qwen2.5's dimensions, a made-up tokenizer of the same size, and no weights.

With `load_format="dummy"` the speed is the real model's, the words mean nothing: a made-up word per token, every tenth ends a sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice, product
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Final

from inference import tiny_model

SENTENCE: Final = 10  # tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Dimensions of a model."""

    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int
    tied: bool

    def config(self) -> dict[str, Any]:
        """`config.json`."""
        return {
            **tiny_model.CONFIG,
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_heads,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": 32_768,
            "rope_theta": 1_000_000.0,
            "tie_word_embeddings": self.tied,
        }


SHAPES: Final[Mapping[str, Shape]] = {
    "qwen2.5-3b": Shape(hidden=2048, inner=11_008, layers=36, heads=16, key_heads=2, vocabulary=151_936, tied=True),
    "qwen2.5-7b": Shape(hidden=3584, inner=18_944, layers=28, heads=28, key_heads=4, vocabulary=152_064, tied=False),
    "toy": Shape(hidden=256, inner=512, layers=2, heads=4, key_heads=2, vocabulary=2048, tied=True),
}


def write(folder: Path, shape: Shape) -> Path:
    """Write the model of this shape into `folder`."""
    tiny_model.write(folder)
    (folder / "config.json").write_text(json.dumps(shape.config()), "utf-8")
    tokenizer: Any = tiny_model.tokenizer()
    vocabulary = tokenizer["model"]["vocab"]
    free = (word for word in _words() if word not in vocabulary)
    for word in islice(free, shape.vocabulary - len(vocabulary)):
        vocabulary[word] = len(vocabulary)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")
    return folder


def _words() -> Iterator[str]:
    """Made-up words with a space before them, as byte-level BPE writes it."""
    number = 0
    for length in count(2):
        for letters in product(ascii_lowercase, repeat=length):
            number += 1
            yield "\u0120" + "".join(letters) + ("" if number % SENTENCE else ".")
