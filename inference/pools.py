"""Which engine serves which tier on this machine: a TOML file with a table per tier.

    [gold]
    engine = "vllm"                      # vllm, openai, grammar or timed
    model = "Qwen/Qwen2.5-3B-Instruct-AWQ"
    pool = "gold-a10g"                   # optional, like the prices per token below
    prompt_nano_usd = 20
    completion_nano_usd = 60

Every other key is a setting of the engine itself (`VllmSettings`, `OpenAiSettings`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bus.errors import BadSettings
from inference.engine import Engine
from inference.settings import WorkerSettings
from inference.tiers import TIERS

ENGINES: Final = ("vllm", "openai", "grammar", "timed")
_WORKER: Final = ("pool", "prompt_nano_usd", "completion_nano_usd", "drain_s", "keep_warm_s", "patience_s")


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


def pool_of(tier: str, table: Mapping[str, Any]) -> tuple[WorkerSettings, Engine | None]:
    """The worker and the engine of one tier; an empty table is a worker without a model. Raises `BadSettings`."""
    rest = dict(table)
    worker = {key: rest.pop(key) for key in _WORKER if key in rest}
    name = rest.pop("engine", None)
    try:
        settings = WorkerSettings(tier=tier, **worker)
        if name is None and rest:
            raise BadSettings(f"{tier}: found {', '.join(rest)} but no engine: name one of {', '.join(ENGINES)}")
        return settings, None if name is None else _engine(name, rest)
    except TypeError as error:
        raise BadSettings(f"{tier}: {error}: compare with docs/reference/tiers.md") from error


def _engine(name: str, settings: Mapping[str, Any]) -> Engine:
    match name:
        case "vllm":
            from inference.engines.vllm import VllmEngine, VllmSettings

            return VllmEngine(VllmSettings(**settings))
        case "openai":
            from inference.engines.openai import OpenAiEngine, OpenAiSettings

            return OpenAiEngine(OpenAiSettings(**settings))
        case "grammar":
            from inference.engines.grammar import GrammarEngine

            return GrammarEngine(**settings)
        case "timed":
            from inference.engines.timed import Pace, TimedEngine

            slots = settings.get("slots", 8)
            return TimedEngine(Pace(**{key: value for key, value in settings.items() if key != "slots"}), slots=slots)
        case _:
            raise BadSettings(f"wanted an engine of {', '.join(ENGINES)}, found {name!r}")
