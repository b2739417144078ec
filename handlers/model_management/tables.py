"""The first catalogue of a world and the limits of health, as a designer writes them (TOML), read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bus import toml
from handlers.names import NAME_RULE, is_token

TIERS: Final = ("gold", "silver", "bronze")
ENGINES: Final = ("vllm", "openai", "grammar")
MAX_SOURCE: Final = 256  # characters
MAX_LICENSE: Final = 64
MAX_CONTEXT: Final = 10_000_000  # tokens
MAX_PRICE: Final = 10**12  # billionths of a US dollar per token


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model of the catalogue. Prices are billionths of a US dollar per token."""

    source: str
    engine: str
    license: str
    context_tokens: int
    prompt_nano_usd: int
    completion_nano_usd: int

    def problem(self) -> str:
        """The fault of the model, or an empty string."""
        if not self.source or len(self.source) > MAX_SOURCE or len(self.license) > MAX_LICENSE:
            found = f"{len(self.source)} and {len(self.license)}"
            return f"source needs 1 to {MAX_SOURCE} characters and license at most {MAX_LICENSE}, found {found}"
        if self.engine not in ENGINES:
            return f"engine must be one of {', '.join(ENGINES)}, found {ascii(self.engine)[:80]}"
        if not 1 <= self.context_tokens <= MAX_CONTEXT:
            return f"context_tokens must be 1 to {MAX_CONTEXT}, found {self.context_tokens}"
        if not (0 <= self.prompt_nano_usd <= MAX_PRICE and 0 <= self.completion_nano_usd <= MAX_PRICE):
            return f"prices must be 0 to {MAX_PRICE}, found {self.prompt_nano_usd} and {self.completion_nano_usd}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The limits at which a rollout is taken back."""

    max_failure_percent: float
    max_late_percent: float
    min_requests: int
    unready_reports: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """The models a tier begins with, and which one serves."""

    serves: str
    models: Mapping[str, Model]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Checked tables of a world."""

    health: Health
    tiers: Mapping[str, Tier]


def load(path: Path) -> Tables:
    """The tables in a TOML file; raises `BadSettings` with every problem found."""
    return toml.read(path, catalogue)


def catalogue(table: Mapping[str, Any], name: str) -> Tables:
    """The tables in a parsed file called `name`; raises `BadSettings` with every problem found."""
    root = toml.of(table, name)
    root.only("health", "tiers")
    tables = Tables(
        health=root.table("health").into(Health),
        tiers={
            tier: body.into(Tier, models={model: fields.into(Model) for model, fields in body.tables("models").items()})
            for tier, body in root.tables("tiers").items()
        },
    )
    root.refuse(_problems(tables))
    return tables


def _problems(tables: Tables) -> list[str]:
    health, found = tables.health, []
    if not (0 <= health.max_failure_percent < 100 and 0 <= health.max_late_percent < 100):
        found.append(f"health: percentages must be 0 and more, below 100, found {health}")
    if health.min_requests < 1 or health.unready_reports < 1:
        found.append(f"health: min_requests and unready_reports must be 1 or more, found {health}")
    if set(tables.tiers) != set(TIERS):
        found.append(f"tiers: wanted {', '.join(TIERS)}, found {', '.join(tables.tiers) or 'none'}")
    for name, tier in tables.tiers.items():
        if tier.serves not in tier.models:
            found.append(f"tiers.{name}.serves: no such model {tier.serves!r}, there are {', '.join(tier.models) or 'none'}")
        for model, it in tier.models.items():
            if problem := it.problem() or ("" if is_token(model) else f"a model's name must be {NAME_RULE}"):
                found.append(f"tiers.{name}.models.{model}: {problem}")
    return found
