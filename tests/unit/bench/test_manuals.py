"""The questions about other people's manuals: whole, and only asked of the texts that they were written from."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.manuals.__main__ import HERE, Source, read, sources
from bus.errors import BadSettings
from worldbus.evaluation.questions import NEGATIVE, load


def test_there_are_questions_with_and_without_an_answer_about_each_manual() -> None:
    asked = {name: load(HERE / f"{name}.jsonl") for name in sources()}
    answered = {name: [one for one in questions if one.kind != NEGATIVE] for name, questions in asked.items()}

    assert set(asked) == {path.stem for path in HERE.glob("*.jsonl")}
    assert sum(map(len, answered.values())) >= 60
    assert sum(map(len, asked.values())) - sum(map(len, answered.values())) >= 30
    assert all(source.licence and len(hash_) == 64 for source in sources().values() for hash_ in source.files.values())


def test_another_text_than_the_questions_are_about_is_refused(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# A\n\nChanged.\n")
    source = Source(manager="npm", package="a", version="1", licence="MIT", folder="docs", files={"a.md": "0" * 64})

    with pytest.raises(BadSettings, match="another text"):
        read(source, tmp_path)
