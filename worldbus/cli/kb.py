"""`worldbus kb`: the knowledge base."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worldbus.cli.app import app
from worldbus.cli.options import PLACE, json_option, run, settings_options
from worldbus.cli.output import Progress, remark, remark_made, say, say_json

if TYPE_CHECKING:
    from asyncpg import Connection

    from projections.knowledge.serving import Serving
    from worldbus.edges.lore import Chunk, Document, Done, Plan
    from worldbus.opening import World
    from worldbus.settings import Settings

AT_ONCE = 64  # passages whose vectors are computed between two looks at the clock
SHOWN_S = 10.0  # how long we wait until the tables have what was said


@app.group()
def kb() -> None:
    """The knowledge base: lore, who may know it, and from when on."""


@kb.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--collection",
    metavar="NAME",
    help="What the folder's documents belong to: those of the collection whose files are gone are removed.  [default: the folder's name]",
)
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@click.option(
    "--vectors/--no-vectors",
    default=True,
    show_default=True,
    help="Compute the vectors of new passages before they are said. Without: `up` does it later; until then they are found by their words.",
)
@json_option
@settings_options(*PLACE, "world", "durability")
def ingest(path: Path, collection: str | None, dry_run: bool, vectors: bool, as_json: bool, settings: Settings) -> None:
    """Bring the knowledge base in step with a folder of documents, or with one document.

    Markdown is read as it is; PDF, DOCX and HTML need the extra `documents`. Only what differs from the log is said, document by
    document: each is there as it was before or as it is now, never in between. A second time nothing changes. Documents whose files are
    gone from the folder are removed. If one document has a fault nothing is ingested, and every fault is shown. In a data folder without
    a world it makes one, and says so.
    """
    from worldbus.extras import require

    require("lore", "knowledge")
    wanted = _Wanted(collection=collection or _name_of(path), whole=path.is_dir(), dry_run=dry_run, vectors=vectors)
    run(_ingest(settings, path, wanted, as_json))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The wishes of the command line."""

    collection: str
    whole: bool
    dry_run: bool
    vectors: bool


async def _ingest(settings: Settings, path: Path, wanted: _Wanted, as_json: bool) -> None:
    from worldbus.edges.lore import Ingest
    from worldbus.opening import open_world

    with Progress() as progress:
        documents = await asyncio.to_thread(_read, path, settings.world, progress)
        async with open_world(settings, name="worldbus-kb-ingest") as world, AsyncExitStack() as stack:
            remark_made(world.servers)
            vectors = _Vectors(world, stack, progress)
            edge = Ingest(world.log, world.publisher, settings.world, prepare=vectors if wanted.vectors else None)
            if wanted.dry_run:
                plan = await edge.plan(documents, collection=wanted.collection, whole=wanted.whole)
                progress.clear()
                _show_plan(plan, as_json)
                return
            done = await edge.run(documents, collection=wanted.collection, whole=wanted.whole, tell=_telling(progress))
            shown = await _shown(world, done.position)
    if vectors.problem:
        done = replace(done, warnings=(*done.warnings, vectors.problem))
    _show(settings, done, shown, as_json)


def _read(path: Path, world: str, progress: Progress) -> list[Document]:
    from worldbus.edges.lore import documents
    from worldbus.games import current

    return documents(path, current().content_of(world).calendar, _telling(progress))


def _telling(progress: Progress) -> Callable[[int, int, str], None]:
    return lambda at, of, name: progress(f"{at} of {of} documents: {name}", at / max(1, of))


def _name_of(path: Path) -> str:
    """The collection that a folder is, unless another is named."""
    from worldbus.edges.lore.document import slug

    folder = path.resolve() if path.is_dir() else path.resolve().parent
    return slug(folder.name) if folder.name else "root"


class _Vectors:
    """Gives passages their vectors before they are said; the model is loaded when there is something to do.

    Where that cannot be done now, the service beside the projector does it later.
    """

    def __init__(self, world: World, stack: AsyncExitStack, progress: Progress) -> None:
        self._world = world
        self._stack = stack
        self._progress = progress
        self._opened: tuple[Connection, Serving] | None = None
        self.problem = ""

    async def __call__(self, chunks: Sequence[Chunk]) -> None:
        from bus.errors import Transient
        from projections.knowledge.text import searched_text
        from projections.knowledge.vectors import ensure

        if self.problem:
            return
        try:
            connection, serving = self._opened = self._opened or await self._open()
            for at in range(0, len(chunks), AT_ONCE):
                self._progress(f"vectors of {at} of {len(chunks)} passages of one document", at / len(chunks))
                part = chunks[at : at + AT_ONCE]
                await ensure(connection, serving, {one.content_hash: searched_text(one.heading, one.text) for one in part})
        except Transient as error:
            self.problem = f"no vectors yet, so passages are found by their words alone until there are: {error}"

    async def _open(self) -> tuple[Connection, Serving]:
        from migrations import migrate
        from projections.knowledge.serving import open_serving
        from projections.store import connected

        settings, dsn = self._world.settings, self._world.servers.postgres_dsn
        if self._world.servers.nats is not None:  # the servers are ours alone, and may be new
            await asyncio.to_thread(migrate, dsn)
        connection = await self._stack.enter_async_context(connected(dsn))
        opening = open_serving(connection, first=settings.embedder, key=settings.embedder_key or "")
        return connection, await self._stack.enter_async_context(opening)


async def _shown(world: World, position: int) -> bool:
    """True once the tables have everything up to `position`. Where nobody projects, we do it until they have."""
    from projections.store import connected
    from worldbus.compose import serve
    from worldbus.games import current

    async def wait() -> bool:
        async with connected(world.servers.postgres_dsn) as connection:
            while True:
                if await connection.fetchval("SELECT position FROM worldbus.checkpoint") >= position:
                    return True
                await asyncio.sleep(0.02)

    if world.servers.nats is not None:  # the servers are ours alone
        async with serve(world, projections=current().projections):
            return await wait()
    try:
        async with asyncio.timeout(SHOWN_S):
            return await wait()
    except TimeoutError:
        return False


def _show_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        changed = [{"document": one.slug, "added": len(what.added), "retired": len(what.retired)} for one, what in plan.changed]
        say_json(
            {
                "dry_run": True,
                "collection": plan.collection,
                "documents": plan.documents,
                "passages": plan.passages,
                "changed": changed,
                "removed": [one.slug for one, _ in plan.removed],
                "warnings": list(plan.warnings),
            }
        )
        return
    for one, what in plan.changed:
        say(f"  {one.slug}: {len(what.added)} passages to add, {len(what.retired)} to retire, {len(one.chunks)} in all")
    for known, what in plan.removed:
        say(f"  {known.slug}: to remove, {len(what.retired)} passages")
    say(f"{plan.documents} documents, {plan.passages} passages; {len(plan.changed)} documents would change, {len(plan.removed)} go")
    _warn(plan.warnings)


def _show(settings: Settings, done: Done, shown: bool, as_json: bool) -> None:
    if as_json:
        say_json({**done.as_dict(), "world": settings.world, "shown": shown})
        return
    say(f"{done.documents} documents, {done.passages} passages in collection {done.collection!r} of world {settings.world!r}")
    if done.changed or done.removed:
        said = [f"{len(done.changed)} documents changed", *([f"{len(done.removed)} removed"] if done.removed else [])]
        say(f"{', '.join(said)}: {done.added} passages added, {done.retired} retired; last position {done.position}")
    else:
        say("nothing changed")
    _warn(done.warnings)
    if not shown:
        remark(f"recorded; the tables did not follow within {SHOWN_S:g} s: does a projector run (`worldbus up`, `worldbus run`)?")


def _warn(warnings: Any) -> None:
    for warning in warnings:
        remark(f"note: {warning}")
