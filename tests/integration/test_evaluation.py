"""The knowledge base against its labelled questions, with the real model: the thresholds that a release has to meet."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from handlers.time_manager.calendar import load as load_calendar
from projections.knowledge.embedders import open_embedder
from tests.duskmarket import FOLDER
from tests.unit.evaluation.test_questions import data_set
from worldbus.cli import main
from worldbus.edges.lore import Document, documents
from worldbus.evaluation import beir
from worldbus.evaluation.questions import load
from worldbus.evaluation.run import MODES, Report, evaluate, evaluate_beir
from worldbus.evaluation.stage import Hit, Stage, open_stage

WORLD = FOLDER


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """An empty knowledge base and the default model."""
    async with opened("minilm") as stage:
        yield stage


@pytest.fixture
async def plain_stage() -> AsyncIterator[Stage]:
    """The same with a model that knows words and no meanings, and is quick."""
    async with opened("hashing") as stage:
        yield stage


@asynccontextmanager
async def opened(name: str) -> AsyncIterator[Stage]:
    embedder = await open_embedder(name)
    async with open_stage(embedder) as stage:
        yield stage
    await embedder.aclose()


def lore() -> Sequence[Document]:
    return documents(WORLD / "lore", load_calendar(WORLD / "calendar.toml"), lambda *_: None)


async def evaluated(stage: Any) -> Report:
    return await evaluate(stage, lore(), load(WORLD / "questions.jsonl"), lambda *_: None, data="lore")


@pytest.mark.timeout(400)
async def test_the_sample_world_is_found_and_nothing_of_it_leaks(stage: Stage) -> None:
    report = await evaluated(stage)

    hybrid, vector, text = (report.modes[mode] for mode in ("hybrid", "vector", "text"))
    assert report.questions >= 130
    assert hybrid.recall_at_5 >= 0.969
    assert hybrid.ndcg_at_10 >= 0.909
    for other in (vector, text):
        assert hybrid.recall_at_5 > other.recall_at_5
        assert hybrid.ndcg_at_10 > other.ndcg_at_10
        assert hybrid.mrr > other.mrr
    assert [scores.leak_rate for scores in report.modes.values()] == [0, 0, 0]
    assert hybrid.negative_auc is not None
    assert hybrid.negative_auc > 0.95, "what nothing answers looks like it"
    assert hybrid.negative_recall is not None
    assert hybrid.negative_precision is not None
    assert hybrid.negative_recall >= 0.9
    assert hybrid.negative_precision >= 0.65
    assert text.recall_at_5 >= report.peer.recall_at_5, "words are ranked at least as well as by plain BM25"
    assert text.ndcg_at_10 >= report.peer.ndcg_at_10
    assert {"recall_at_5", "mrr", "ndcg_at_10", "leak_rate", "p95_ms", "p50_ms"} <= report.as_dict()["modes"]["hybrid"].keys()


class Careless:
    """A stage whose searches forget who asks, or when."""

    def __init__(self, stage: Stage, *, who: bool, when: bool) -> None:
        self._stage, self._who, self._when = stage, who, when

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    async def search(self, text: str, tokens: Sequence[str], mode: str, as_of: int, most: int) -> list[Hit]:
        return await self._stage.search(
            text, [*tokens, "storyteller"] if self._who else tokens, mode, self._stage.head if self._when else as_of, most
        )


@pytest.mark.parametrize("forgets", [{"who": True, "when": False}, {"who": False, "when": True}])
async def test_a_search_that_forgets_who_asks_or_when_is_caught(plain_stage: Stage, forgets: dict[str, bool]) -> None:
    report = await evaluated(Careless(plain_stage, **forgets))

    assert all(scores.leaks > 0 and scores.leak_rate > 0 for scores in report.modes.values())


async def test_a_beir_folder_is_evaluated(plain_stage: Stage, tmp_path: Path) -> None:
    data = beir.load(data_set(tmp_path / "tiny"))
    report = await evaluate_beir(plain_stage, data, beir.documents(data), lambda *_: None)

    assert (report.data, report.passages, report.questions) == ("tiny", 2, 2)
    for scores in report.modes.values():
        assert (scores.recall_at_5, scores.mrr, scores.ndcg_at_10) == (1.0, 1.0, 1.0)


def test_the_command_prints_its_figures_and_says_what_it_cannot_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(data_set(tmp_path / "tiny"))
    for words, code in (
        (["--beir", folder, "--embedder", "hashing", "--json"], 0),
        (["--beir", folder, "--embedder", "hashing"], 0),
        (["--beir", folder, "--lore", folder], 2),
        (["--beir", str(tmp_path)], 2),
        (["--questions", str(tmp_path / "none.jsonl")], 2),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["kb", "eval", *words])
        said = capsys.readouterr()
        assert ended.value.code == code, said.err
        if words[-1] == "--json":
            assert json.loads(said.out)["modes"]["hybrid"]["recall_at_5"] == 1.0
        elif code == 0:
            assert [line.split()[0] for line in said.out.splitlines() if line.startswith(("hybrid", "vector", "text"))] == list(MODES)
        else:
            assert "wanted" in said.err or "cannot be read" in said.err or "give --beir" in said.err
