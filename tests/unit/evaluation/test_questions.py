"""Files of labelled questions, and folders in BEIR's format: read as they are, or refused with the line that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bus.errors import BadSettings
from tests.duskmarket import FOLDER
from worldbus.evaluation import beir, questions
from worldbus.evaluation.questions import Section
from worldbus.evaluation.stage import truth

LINE: dict[str, Any] = {
    "id": "q1", "kind": "as-of", "question": "Who pays?", "audience": ["public"], "as_of": {"after": "quest:x=y"},
    "relevant": [{"document": "law", "heading": "Fees", "grade": 2}], "forbidden": [{"document": "secrets", "heading": "Debts"}],
}  # fmt: skip


def write(path: Path, *lines: dict[str, Any] | str) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_a_question_is_read_with_its_moment_and_its_labels(tmp_path: Path) -> None:
    (question,) = questions.load(write(tmp_path / "q.jsonl", "", LINE, ""))

    assert (question.id, question.kind, question.audience) == ("q1", "as-of", ("public",))
    assert (question.when, question.condition) == ("after", "quest:x=y")
    assert question.relevant == {Section("law", "Fees"): 2}
    assert question.forbidden == {Section("secrets", "Debts")}
    (now,) = questions.load(write(tmp_path / "q.jsonl", {**LINE, "as_of": None}))
    assert (now.when, now.condition) == ("now", "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "riddle"}, "riddle"),
        ({"question": " "}, "wants words"),
        ({"audience": []}, "an audience"),
        ({"relevant": []}, "has 0 relevant"),
        ({"kind": "negative"}, "has 1 relevant"),
        ({"relevant": [{"document": "law", "heading": "Fees", "grade": 4}]}, "grade"),
        ({"relevant": [{"document": "law"}]}, "heading"),
        ({"as_of": {"after": ""}}, "before or after"),
        ({"as_of": {"after": "a", "before": "b"}}, "before or after"),
        ({"as_of": {"during": "a"}}, "during"),
        ({"grade": 1}, "grade"),
    ],
)
def test_a_question_that_is_wrong_is_named_with_its_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSettings, match=f"line 2: .*{said}"):
        questions.load(write(tmp_path / "q.jsonl", {**LINE, "id": "q0"}, {**LINE, **changes}))


def test_files_without_questions_are_refused(tmp_path: Path) -> None:
    for path, said in (
        (write(tmp_path / "twice.jsonl", LINE, LINE), "another question 'q1'"),
        (write(tmp_path / "empty.jsonl"), "no question"),
        (write(tmp_path / "text.jsonl", "{"), "line 1"),
        (tmp_path / "missing.jsonl", "cannot be read"),
    ):
        with pytest.raises(BadSettings, match=said):
            questions.load(path)


def test_every_condition_of_the_sample_worlds_questions_can_come_true() -> None:
    for question in questions.load(FOLDER / "questions.jsonl"):
        if question.condition:
            said_by, entity, message = truth(question.condition)
            assert said_by
            assert entity
            assert message.DESCRIPTOR.name in question.condition or said_by in ("quest", "time")
    for condition in ("event:NoSuchEvent", "weather:rain", "date:soon", ""):
        with pytest.raises(BadSettings, match="wanted event:NAME"):
            truth(condition)


# ---- BEIR -----------------------------------------------------------------------------------------------------------------------------


def data_set(folder: Path, **files: str) -> Path:
    """A tiny folder in BEIR's format; `files` replace some of it."""
    content = {
        "corpus": '{"_id": "d1", "title": "Herring", "text": "A fish."}\n'
        '{"_id": "d 2", "text": "The moor is wet.", "metadata": {"url": "x"}}\n',
        "queries": '{"_id": "q1", "text": "what is a herring?"}\n{"_id": "q2", "text": "is the moor dry?"}\n'
        '{"_id": "q3", "text": "nobody judged"}\n',
        "qrels": "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td 2\t1\nq2\td1\t0\n",
    } | files
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(content["corpus"], encoding="utf-8")
    (folder / "queries.jsonl").write_text(content["queries"], encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(content["qrels"], encoding="utf-8")
    return folder


def test_a_data_set_holds_its_judged_queries_and_its_corpus(tmp_path: Path) -> None:
    data = beir.load(data_set(tmp_path / "tiny"))
    second = beir.slug_of("d 2")

    assert data.queries == {"q1": "what is a herring?", "q2": "is the moor dry?"}
    assert data.grades == {"q1": {"d1": 2}, "q2": {second: 1, "d1": 0}}
    assert [tuple(entry) for entry in data.corpus()] == [("d1", "Herring", "A fish."), ("d 2", "", "The moor is wet.")]
    first, other = beir.documents(data)
    assert (first.slug, first.chunks[0].heading, first.chunks[0].text, first.chunks[0].marks.audience) == (
        "d1",
        ("Herring",),
        "A fish.",
        ("public",),
    )
    assert (other.slug, other.chunks[0].heading) == (second, ())


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"qrels": "query-id\tcorpus-id\tscore\n"}, "judges nothing"),
        ({"qrels": "query-id\tcorpus-id\tscore\nq1 d1 2\n"}, "test.tsv, line 2"),
        ({"qrels": "query-id\tcorpus-id\tscore\nq1\td1\tgood\n"}, "test.tsv, line 2"),
        ({"qrels": "query-id\tcorpus-id\tscore\nq9\td1\t1\n"}, "e.g. q9"),
        ({"queries": '{"_id": "q1"}\n'}, "queries.jsonl, line 1"),
        ({"queries": '{"_id": "q1", "text": "x"}\n['}, "queries.jsonl, line 2"),
    ],
)
def test_a_data_set_that_is_wrong_is_named_with_file_and_line(tmp_path: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        beir.load(data_set(tmp_path / "tiny", **files))


def test_a_corpus_that_is_wrong_is_found_while_it_is_read(tmp_path: Path) -> None:
    data = beir.load(data_set(tmp_path / "tiny", corpus='{"_id": "d1", "text": "x"}\n{"_id": 2}\n'))
    with pytest.raises(BadSettings, match=r"corpus\.jsonl, line 2"):
        list(data.corpus())
    with pytest.raises(BadSettings, match="cannot be read"):
        beir.load(tmp_path / "nowhere")
    twice = beir.load(data_set(tmp_path / "twice", corpus='{"_id": "d1", "text": "x"}\n{"_id": "d1", "text": "y"}\n'))
    with pytest.raises(BadSettings, match="two of 'd1'"):
        list(twice.corpus())


def test_judgements_without_a_header_lose_none(tmp_path: Path) -> None:
    data = beir.load(data_set(tmp_path / "tiny", qrels="q1\td1\t2\nq2\td1\t1\n"))

    assert data.grades == {"q1": {"d1": 2}, "q2": {"d1": 1}}


def test_what_postgres_cannot_hold_is_replaced(tmp_path: Path) -> None:
    corpus, queries = '{"_id": "d1", "title": "a\\u0000", "text": "b\\u0000\u2028c"}\n', '{"_id": "q1", "text": "\\u0000?"}\n'
    data = beir.load(data_set(tmp_path / "tiny", corpus=corpus, queries=queries, qrels="h\th\th\nq1\td1\t1\n"))

    assert [tuple(entry) for entry in data.corpus()] == [("d1", "a\ufffd", "b\ufffd\u2028c")]
    assert data.queries == {"q1": "\ufffd?"}
