"""The engine of each tier on this machine: a TOML file with a table per tier.

    [gold]
    engine = "vllm"                      # vllm, openai, grammar or timed
    model = "Qwen/Qwen2.5-3B-Instruct-AWQ"
    pool = "gold-a10g"                   # optional, like everything below
    cuda_visible_devices = "0"           # GPUs of this machine that the engine may see; only for vllm
    node_label = "gpu=a10g"              # the worker refuses to start on a machine that is not labelled so
    prompt_nano_usd = 20
    completion_nano_usd = 60

Every other key is a setting of the engine itself (`VllmSettings`, `OpenAiSettings`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from bus.errors import BadSettings, MissingExtra
from inference.engine import Engine
from inference.grammar import Grammar
from inference.grammars import load as load_grammars
from inference.settings import WorkerSettings
from inference.tiers import TIERS

ENGINES: Final = ("vllm", "openai", "grammar", "timed")
DEVICES: Final = "cuda_visible_devices"
LABEL: Final = "node_label"
_WORKER: Final = ("pool", "prompt_nano_usd", "completion_nano_usd", "drain_s", "keep_warm_s", "warm_up", "patience_s")


def load(path: Path | None) -> Mapping[str, Mapping[str, Any]]:
    """The tables by tier; nothing without a file. Raises `BadSettings`."""
    if path is None:
        return {}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSettings(f"{path.name} cannot be read as TOML: {error}") from error
    wrong = [tier for tier, table in tables.items() if tier not in TIERS or not isinstance(table, dict)]
    if wrong:
        raise BadSettings(f"{path.name}: wanted tables named {', '.join(TIERS)}, found {', '.join(wrong)}")
    return tables


def pool_of(
    tier: str,
    table: Mapping[str, Any],
    *,
    labels: Mapping[str, str] | None = None,
    grammars: Mapping[str, Grammar] | None = None,
) -> tuple[WorkerSettings, Engine | None]:
    """The worker and the engine of one tier, on a machine with such labels; an empty table is a worker without a model.

    Engines of grammars speak by `grammars`, the world's own, where the table names no folder of others.

    Raises `BadSettings`, also when the pool belongs on another kind of machine.
    """
    rest = dict(table)
    worker = {key: rest.pop(key) for key in _WORKER if key in rest}
    name = rest.pop("engine", None)
    _check_label(tier, rest.pop(LABEL, None), labels or {})
    if (devices := rest.pop(DEVICES, None)) is not None:
        if name != "vllm":
            raise BadSettings(f"{tier}: {DEVICES} is for engine vllm alone, found it for {name or 'no engine'}: remove it")
        if rest.setdefault("devices", str(devices)) != str(devices):
            raise BadSettings(f"{tier}: devices and {DEVICES} mean the same, found {rest['devices']!r} and {str(devices)!r}: give one")
    try:
        settings = WorkerSettings.of_this_process(tier, **worker)
        if name is None and rest:
            raise BadSettings(f"{tier}: found {', '.join(rest)} but no engine: name one of {', '.join(ENGINES)}")
        return settings, None if name is None else _engine(name, rest, grammars or {})
    except TypeError as error:
        raise BadSettings(f"{tier}: {error}: compare with docs/reference/tiers.md") from error


def _check_label(tier: str, wanted: Any, labels: Mapping[str, str]) -> None:
    if wanted is None:
        return
    name, equals, value = str(wanted).partition("=")
    if not name or not equals:
        raise BadSettings(f"{tier}: {LABEL} must be like 'gpu=a10g', found {wanted!r}")
    if labels.get(name) != value:
        found = ", ".join(f"{key}={text}" for key, text in sorted(labels.items())) or "none"
        raise BadSettings(
            f"{tier}: wanted a machine labelled {wanted}, found the labels {found}: "
            "run this pool elsewhere, or say what this machine is with WORLDBUS_NODE_LABELS",
            wanted=str(wanted),
            found=found,
        )


def _engine(name: str, settings: Mapping[str, Any], grammars: Mapping[str, Grammar]) -> Engine:
    match name:
        case "vllm":
            from inference.engines.vllm import VllmEngine, VllmSettings

            return VllmEngine(VllmSettings(**settings))
        case "openai":
            try:
                from inference.engines.openai import OpenAiEngine, OpenAiSettings
            except ModuleNotFoundError as error:
                raise MissingExtra.of("engine openai", ("inference",), (error.name or "aiohttp",)) from error

            return OpenAiEngine(OpenAiSettings(**settings))
        case "grammar":
            from inference.engines.grammar import GrammarEngine

            return GrammarEngine(**_with_grammars(settings, grammars))
        case "timed":
            from inference.engines.timed import Pace, TimedEngine

            pace = {field.name: settings[field.name] for field in fields(Pace) if field.name in settings}
            return TimedEngine(Pace(**pace), **_with_grammars({key: value for key, value in settings.items() if key not in pace}, grammars))
        case _:
            raise BadSettings(f"wanted an engine of {', '.join(ENGINES)}, found {name!r}")


def _with_grammars(settings: Mapping[str, Any], grammars: Mapping[str, Grammar]) -> dict[str, Any]:
    """`grammars` is a folder in the file, and what is in it for the engine; the world's own if the file names none."""
    folder = settings.get("grammars")
    return {**settings, "grammars": grammars if folder is None else load_grammars(Path(str(folder)).expanduser())}
