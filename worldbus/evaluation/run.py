"""Ask every question in every mode, and say how good the answers were."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from projections.knowledge.search import ANSWERS, Mode
from worldbus.edges.lore import Chunk, Document
from worldbus.evaluation.beir import DataSet
from worldbus.evaluation.bm25 import PlainBM25
from worldbus.evaluation.metrics import mean, ndcg, percentile, recall, reciprocal_rank, separation
from worldbus.evaluation.questions import NEGATIVE, Question, Section
from worldbus.evaluation.stage import Hit, Stage

MODES: Final[tuple[Mode, ...]] = ("hybrid", "vector", "text")
MOST: Final = 10
PEER: Final = "plain BM25"
WARM: Final = 5  # questions that are asked before the clock runs

Tell = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One mode. Negative questions count for `leak_rate` and the times, and of the rest for what begins with `negative`."""

    mode: str
    questions: int
    recall_at_5: float
    mrr: float
    ndcg_at_10: float
    leak_rate: float
    leaks: int
    p50_ms: float
    p95_ms: float
    negative_auc: float | None
    negative_recall: float | None
    """Share of the negative questions whose best hit scores too low for an answer."""
    negative_precision: float | None
    """Share of the negative ones among all questions whose best hit does."""
    by_kind: Mapping[str, float]
    """Recall at 5 by kind of question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of an evaluation."""

    data: str
    passages: int
    questions: int
    negatives: int
    model: str
    index_recall: float | None
    modes: Mapping[str, Scores]
    peer: Scores
    """Plain BM25, over the same passages and questions."""

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    question: Question
    hits: Sequence[Hit]
    leaks: int
    ms: float


async def evaluate(stage: Stage, documents: Sequence[Document], questions: Sequence[Question], tell: Tell, *, data: str) -> Report:
    """Ask labelled questions about documents. Conditions come true in the order in which questions name them."""
    conditions = tuple(dict.fromkeys(question.condition for question in questions if question.condition))
    tell(f"ingesting {len(documents)} documents", 0.0)
    await stage.tell(documents, conditions)

    def moment(question: Question) -> int:
        if question.when == "now":
            return stage.head - len(conditions)
        return stage.since[question.condition] - (question.when == "before")

    return await _report(stage, documents, questions, moment, _judge(stage, documents), tell, data)


async def evaluate_beir(stage: Stage, data: DataSet, documents: Iterable[Document], tell: Tell) -> Report:
    """Ask the judged queries of a data set, whose `documents` everybody may know."""
    tell("ingesting the corpus", 0.0)
    corpus = list(documents)
    await stage.tell(corpus)
    questions = [
        Question(
            id=query, kind="query", text=text, audience=("public",), forbidden=frozenset(),
            relevant={Section(document, ""): grade for document, grade in data.grades[query].items()},
        )
        for query, text in data.queries.items()
    ]  # fmt: skip
    return await _report(stage, corpus, questions, lambda _: stage.head, lambda question, hit, at: False, tell, data.folder.name)


async def _report(
    stage: Stage,
    documents: Sequence[Document],
    questions: Sequence[Question],
    moment: Callable[[Question], int],
    leaks: Callable[[Question, Hit, int], bool],
    tell: Tell,
    data: str,
) -> Report:
    scores: dict[str, Scores] = {}
    for mode in MODES:
        for question in questions[:WARM]:
            await stage.search(question.text, question.audience, mode, moment(question), MOST)
        asked: list[_Asked] = []
        for number, question in enumerate(questions, start=1):
            tell(f"{mode}: question {number} of {len(questions)}", (len(scores) + number / len(questions)) / len(MODES))
            at, began = moment(question), time.perf_counter()
            hits = await stage.search(question.text, question.audience, mode, at, MOST)
            ms = (time.perf_counter() - began) * 1000
            asked.append(_Asked(question=question, hits=hits, leaks=sum(leaks(question, hit, at) for hit in hits), ms=ms))
        scores[mode] = _scores(mode, asked, ANSWERS)
    negatives = sum(question.kind == NEGATIVE for question in questions)
    return Report(
        data=data,
        passages=await stage.passages(),
        questions=len(questions),
        negatives=negatives,
        model=stage.embedder.model,
        index_recall=await stage.index_recall(),
        modes=scores,
        peer=_peer(documents, questions, moment, leaks),
    )


def _peer(
    documents: Sequence[Document],
    questions: Sequence[Question],
    moment: Callable[[Question], int],
    leaks: Callable[[Question, Hit, int], bool],
) -> Scores:
    """Plain BM25 over what the documents alone say that the asker may know."""
    index = PlainBM25([(document.slug, chunk) for document in documents for chunk in document.chunks])
    asked: list[_Asked] = []
    for question in questions:
        at, began = moment(question), time.perf_counter()

        def visible(name: str, chunk: Chunk, question: Question = question, at: int = at) -> bool:
            return not leaks(question, _as_hit(name, chunk, 0.0), at)

        hits = [_as_hit(*one) for one in index.search(question.text, visible, MOST)]
        asked.append(_Asked(question=question, hits=hits, leaks=0, ms=(time.perf_counter() - began) * 1000))
    return _scores(PEER, asked, None)


def _as_hit(name: str, chunk: Chunk, score: float) -> Hit:
    return Hit(passage_id=chunk.id, document=name, heading=chunk.heading[-1] if chunk.heading else "", score=score)


def _judge(stage: Stage, documents: Sequence[Document]) -> Callable[[Question, Hit, int], bool]:
    """Make the judge of leaks, which goes by the documents alone and not by the tables or the search."""
    marks = {chunk.id: chunk.marks for document in documents for chunk in document.chunks}

    def leaks(question: Question, hit: Hit, at: int) -> bool:
        mark = marks.get(hit.passage_id)
        if mark is None or Section(hit.document, hit.heading) in question.forbidden:
            return True
        early = bool(mark.since) and stage.since.get(mark.since, stage.head + 1) > at
        return early or not set(mark.audience) & set(question.audience)

    return leaks


def _scores(mode: str, asked: Sequence[_Asked], answers: float | None) -> Scores:
    """`answers` is the score from which on a hit is an answer; None where scores mean no such thing."""
    answerable = [one for one in asked if one.question.kind != NEGATIVE]
    ranked = [([_section(one.question, hit) for hit in one.hits], one.question.relevant) for one in answerable]
    recalls = [recall(found, grades, 5) for found, grades in ranked]
    kinds = dict.fromkeys(one.question.kind for one in answerable)
    hits = sum(len(one.hits) for one in asked)
    leaks, times = sum(one.leaks for one in asked), [one.ms for one in asked]
    positives = [_best(one.hits) for one in answerable]
    negatives = [_best(one.hits) for one in asked if one.question.kind == NEGATIVE]
    refused, missed = (sum(score < (answers or 0.0) for score in scores) for scores in (negatives, positives))
    return Scores(
        mode=mode,
        questions=len(asked),
        recall_at_5=mean(recalls),
        mrr=mean([reciprocal_rank(found, grades) for found, grades in ranked]),
        ndcg_at_10=mean([ndcg(found, grades, MOST) for found, grades in ranked]),
        leak_rate=leaks / hits if hits else 0.0,
        leaks=leaks,
        p50_ms=percentile(times, 50),
        p95_ms=percentile(times, 95),
        negative_auc=separation(positives, negatives) if negatives else None,
        negative_recall=refused / len(negatives) if negatives and answers is not None else None,
        negative_precision=refused / (refused + missed) if refused and answers is not None else None,
        by_kind={kind: mean([one for one, each in zip(recalls, answerable, strict=True) if each.question.kind == kind]) for kind in kinds},
    )


def _section(question: Question, hit: Hit) -> Section:
    """The place that a label names: a section, or (in a data set without headings) a document."""
    whole = Section(hit.document, "")
    return whole if whole in question.relevant or question.kind == "query" else Section(hit.document, hit.heading)


def _best(hits: Sequence[Hit]) -> float:
    return max((hit.score for hit in hits), default=0.0)
