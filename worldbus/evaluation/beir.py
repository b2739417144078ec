"""A data set in BEIR's format, to compare with published figures: `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv` in one folder.

Thakur et al., "BEIR: a heterogeneous benchmark for zero-shot evaluation of information retrieval models", NeurIPS 2021.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from bus.errors import BadSettings
from handlers.names import is_token
from projections.knowledge.text import content_hash
from worldbus.edges.lore.document import Chunk, Document
from worldbus.edges.lore.marks import Marks

T = TypeVar("T")
MAX_TEXT: Final = 16_384  # characters of a passage
_GRADE: Final = re.compile(r"\t-?\d+\s*\Z")
MAX_LINE: Final = 16 * 1024 * 1024  # bytes


class Entry(NamedTuple):
    """One document of a corpus."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class DataSet:
    """The judged queries of a folder; its corpus is read as often as `corpus` is called."""

    folder: Path
    queries: Mapping[str, str]
    grades: Mapping[str, Mapping[str, int]]
    """Query → document → grade."""

    def corpus(self) -> Iterator[Entry]:
        """Every document, in the order of the file; raises `BadSettings`, also for two of one id."""
        known: set[str] = set()
        for document in _lines(self.folder / "corpus.jsonl", _Document):
            if document.id in known:
                raise BadSettings(f"corpus.jsonl: wanted one document of each id, found two of {document.id[:80]!r}")
            known.add(document.id)
            yield Entry(document.id, _storable(document.title), _storable(document.text))


class _Document(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    text: str
    title: str = ""


class _Query(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    text: str


def load(folder: Path, split: str = "test") -> DataSet:
    """The data set in `folder`; raises `BadSettings` that says which file and line is not as it should be."""
    grades = _grades(folder / "qrels" / f"{split}.tsv")
    grades = {query: {slug_of(document): grade for document, grade in judged.items()} for query, judged in grades.items()}
    queries = {query.id: _storable(query.text) for query in _lines(folder / "queries.jsonl", _Query) if query.id in grades}
    if missing := sorted(set(grades) - set(queries)):
        raise BadSettings(f"{folder.name}: qrels/{split}.tsv judges queries that queries.jsonl has not, e.g. {', '.join(missing[:5])}")
    return DataSet(folder, queries, grades)


def _grades(path: Path) -> dict[str, dict[str, int]]:
    """Judgements: query, document and grade with tabs between; a first line that has no grade is the header."""
    grades: dict[str, dict[str, int]] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path.name} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and not _GRADE.search(line)):
            continue
        try:
            query, document, grade = line.split("\t")
            grades.setdefault(query, {})[document] = int(grade)
        except ValueError as error:
            raise BadSettings(
                f"{path.name}, line {number}: wanted query, document and grade with tabs between, found {line[:80]!r}"
            ) from error
    if not grades:
        raise BadSettings(f"{path.name} judges nothing: wanted a header and lines of query, document and grade")
    return grades


def _lines(path: Path, shape: type[T]) -> Iterator[T]:
    decoder, number = msgspec.json.Decoder(shape), 0
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE):
                number += 1
                if line.strip():
                    yield decoder.decode(line)
    except OSError as error:
        raise BadSettings(f"{path.name} cannot be read: {error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path.name}, line {number}: {error}") from error


def _storable(text: str) -> str:
    """Make a text that Postgres takes: without NUL characters."""
    return text.replace("\0", "\ufffd")


def documents(data: DataSet) -> Iterator[Document]:
    """The corpus as documents of one passage each, which everybody may know."""
    for number, entry in enumerate(data.corpus(), start=1):
        heading, text = (entry.title,) if entry.title.strip() else (), entry.text.strip() or entry.title.strip() or "(empty)"
        hashed = content_hash(heading, text)
        chunk = Chunk(
            id=blake2b(f"{entry.id}\n{hashed}".encode(), digest_size=16).hexdigest(),
            number=1,
            heading=heading,
            line_from=number,
            line_to=number,
            text=text[:MAX_TEXT],
            content_hash=content_hash(heading, text[:MAX_TEXT]),
            marks=Marks(audience=("public",), tags=(), since=""),
        )
        yield Document(slug=slug_of(entry.id), title=entry.title, path="corpus.jsonl", content_hash=hashed, chunks=(chunk,))


def slug_of(id: str) -> str:
    """A document's id as a name: itself if it is one, else a hash."""
    return id if is_token(id) else blake2b(id.encode(), digest_size=16).hexdigest()
